package queue

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/retry"
)

// A resultBuffer holds results that the store has not written down yet, and writes them behind what is delivered.
// What a crash loses of it is delivered again. While the store writes some down, the next ones gather.
type resultBuffer struct {
	store Store
	log   zerolog.Logger
	wrote func(blocked bool) // called after each write, without a lock held; blocked if the buffer was full
	// fencedOf is told of an error, and reports whether it drops some of the shards that the results are of.
	fencedOf func(of map[int]*holding, err error) bool
	done     chan struct{} // closed when nothing more is written

	pending atomic.Int64 // results that the store has not written down

	mu sync.Mutex
	// mu guards the fields below.
	changed *sync.Cond // there are more of them, or the queue ends
	next    batch
	ended   bool
}

// A batch is results with the lanes that they pin, in the same order.
type batch struct {
	results []Result
	pins    []pin
}

type pin struct {
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
	b.next.pins = append(b.next.pins, pin{s, l})
	if b.next.results = append(b.next.results, r); len(b.next.results) == 1 {
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
	var taken batch
	for {
		if taken = b.take(taken); len(taken.results) == 0 {
			return
		}
		for from := 0; from < len(taken.results); from += writeAtOnce {
			to := min(from+writeAtOnce, len(taken.results))
			if !b.write(ctx, batch{taken.results[from:to], taken.pins[from:to]}) {
				return
			}
			left := b.pending.Add(int64(from - to))
			b.unpin(taken.pins[from:to])
			b.wrote(left+int64(to-from) >= bufferLength)
		}
	}
}

// take waits for results and takes all there are; none when the buffer has ended. The next ones gather in the memory
// of the batch that was written before.
func (b *resultBuffer) take(written batch) (taken batch) {
	clear(written.results)
	clear(written.pins)
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.next.results) == 0 && !b.ended {
		b.changed.Wait()
	}
	taken, b.next = b.next, batch{written.results[:0], written.pins[:0]}
	return taken
}

// write has the store record results, as often as it takes, but for those of shards that are not held any more. It is
// false when ctx ended first.
func (b *resultBuffer) write(ctx context.Context, all batch) bool {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		results := make([]Result, 0, len(all.results)) // all stays as it is, for the next time
		of := make(map[int]*holding, 16)
		for i, p := range all.pins {
			if h := p.lane.holding; !h.gone() {
				results = append(results, all.results[i])
				of[h.lease.Shard] = h
			}
		}
		if len(results) == 0 {
			return true
		}
		leases := make([]bus.Lease, 0, len(of))
		for _, shard := range slices.Sorted(maps.Keys(of)) {
			leases = append(leases, of[shard].lease)
		}
		err := b.store.Record(ctx, leases, results)
		if err == nil {
			return true
		}
		if b.fencedOf(of, err) {
			continue // with the rest
		}
		if ctx.Err() == nil {
			b.log.Error().Err(err).Int("results", len(results)).Msg("deliveries made could not be written down; trying again")
		}
		if !retry.Sleep(ctx.Done(), pause) {
			return false
		}
	}
}

// unpin lets go of lanes.
func (b *resultBuffer) unpin(pins []pin) {
	var held *scheduler
	for _, p := range pins {
		if p.scheduler != held {
			if held != nil {
				held.mu.Unlock()
			}
			held = p.scheduler
			held.mu.Lock()
		}
		held.unpin(p.lane)
		p.lane.holding.work.Done()
	}
	held.mu.Unlock()
}
