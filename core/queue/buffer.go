package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/retry"
)

// A resultBuffer holds results that the store has not written down yet, and writes them behind what is delivered.
// What a crash loses of it is delivered again. While the store writes some down, the next ones gather.
type resultBuffer struct {
	store Store
	log   zerolog.Logger
	wrote func(blocked bool) // called after each write, without a lock held; blocked if the buffer was full
	done  chan struct{}      // closed when nothing more is written

	pending atomic.Int64 // results that the store has not written down

	mu sync.Mutex
	// mu guards the fields below.
	changed *sync.Cond // there are more of them, or the queue ends
	results []buffered
	ended   bool
}

type buffered struct {
	Result
	scheduler *scheduler
	lane      *lane
}

const (
	bufferLength = 4096 // results at most; then no attempt begins until the store has caught up
	writeAtOnce  = 1024 // of them go into one transaction
)

func newResultBuffer(store Store, log zerolog.Logger) *resultBuffer {
	b := &resultBuffer{store: store, log: log, done: make(chan struct{})}
	b.changed = sync.NewCond(&b.mu)
	return b
}

func (b *resultBuffer) add(s *scheduler, l *lane, r Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending.Add(1)
	if b.results = append(b.results, buffered{r, s, l}); len(b.results) == 1 {
		b.changed.Signal()
	}
}

// full reports whether the store is so far behind that nothing more may be tried.
func (b *resultBuffer) full() bool { return b.pending.Load() >= bufferLength }

// end lets run return when everything is written.
func (b *resultBuffer) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.changed.Broadcast()
}

// run writes results down until ctx ends, or until there are none and end was called.
func (b *resultBuffer) run(ctx context.Context) {
	defer close(b.done)
	for {
		batch := b.take()
		if batch == nil || !b.write(ctx, batch) {
			return
		}
		left := b.pending.Add(int64(-len(batch)))
		b.unpin(batch)
		b.wrote(left+int64(len(batch)) >= bufferLength)
	}
}

// take waits for results and takes the oldest; nil when there are none and the buffer has ended.
func (b *resultBuffer) take() []buffered {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.results) == 0 {
		if b.ended {
			return nil
		}
		b.changed.Wait()
	}
	n := min(len(b.results), writeAtOnce)
	batch := b.results[:n:n]
	b.results = b.results[n:]
	return batch
}

// write has the store record a batch, as often as it takes. It is false when ctx ended first.
func (b *resultBuffer) write(ctx context.Context, batch []buffered) bool {
	results := make([]Result, len(batch))
	for i, r := range batch {
		results[i] = r.Result
	}
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := b.store.Record(ctx, results)
		if err == nil {
			return true
		}
		if ctx.Err() == nil {
			b.log.Error().Err(err).Int("results", len(results)).Msg("deliveries made could not be written down; trying again")
		}
		if !retry.Sleep(ctx.Done(), pause) {
			return false
		}
	}
}

// unpin lets go of the lanes of a batch.
func (b *resultBuffer) unpin(batch []buffered) {
	var held *scheduler
	for _, r := range batch {
		if r.scheduler != held {
			if held != nil {
				held.mu.Unlock()
			}
			held = r.scheduler
			held.mu.Lock()
		}
		held.unpin(r.lane)
	}
	held.mu.Unlock()
}
