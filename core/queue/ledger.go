package queue

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/retry"
)

// A ledger writes down, behind what is delivered, what the store has to know of deliveries that the log answers for:
// those that are spilled, and marks of how far each shard is handled. One goroutine writes, so that a mark never says
// less than the one before it.
type ledger struct {
	queue  *Queue
	moved  chan struct{} // holds a token when a track has changed
	urgent chan struct{} // holds a token when there is something to store, or something waits for the next round
	done   chan struct{} // closed when nothing more is written

	age   *time.Timer // of run: when the age of what is not handled is looked at, while there is something
	aging bool        // it is set

	mu sync.Mutex
	// mu guards the fields below.
	spills []*item       // in order; those of a lane in the order of the lane
	round  chan struct{} // closed after the next round; nil while nothing waits for that
	ended  bool
}

const (
	storeAtOnce      = 1024    // deliveries at most go into one transaction
	storeBytesAtOnce = 4 << 20 // and bytes of them, about

	// After the store has failed the ledger waits, longer each time.
	ledgerPause    = 50 * time.Millisecond
	ledgerPauseMax = 5 * time.Second
	// agePause is from one look at the age of what is not handled to the next.
	agePause = trackAge / 4
	// The next marks wait for markPause, and longer for each byte of the last ones, so that long ones are not written
	// often.
	markPause     = 5 * time.Millisecond
	markBytePause = 2 * time.Microsecond
	markPauseMax  = 50 * time.Millisecond
)

func newLedger(q *Queue) *ledger {
	return &ledger{queue: q, moved: make(chan struct{}, 1), urgent: make(chan struct{}, 1), done: make(chan struct{})}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// wake has run look at the tracks. It may be called with any lock held.
func (g *ledger) wake() { signal(g.moved) }

// add has items stored that are spilling. Those of a lane come in the order of the lane.
func (g *ledger) add(items ...*item) {
	if len(items) == 0 {
		return
	}
	for _, it := range items {
		it.event.holding.work.Add(1)
	}
	g.mu.Lock()
	g.spills = append(g.spills, items...)
	g.mu.Unlock()
	signal(g.urgent)
}

// end lets run return when everything is written.
func (g *ledger) end() {
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	signal(g.urgent)
}

// run writes until ctx ends, or until there is nothing to write and end was called.
func (g *ledger) run(ctx context.Context) {
	defer close(g.done)
	g.age = time.NewTimer(agePause)
	g.aging = true
	defer g.age.Stop()
	for failures := 0; ; {
		size, err := g.write(ctx)
		if g.finished(err) || ctx.Err() != nil {
			return
		}
		if err != nil {
			g.queue.log.Error().Err(err).Msg("how far the log is delivered could not be written down; trying again")
			retry.Sleep(ctx.Done(), min(ledgerPause<<min(failures, 10), ledgerPauseMax))
			failures++
			continue
		}
		failures = 0
		g.wait(ctx, time.Now().Add(min(markPause+time.Duration(size)*markBytePause, markPauseMax)))
	}
}

// wait returns when there is something to write: what is urgent at once, other marks not before a time.
func (g *ledger) wait(ctx context.Context, marks time.Time) {
	select {
	case <-g.urgent:
		return
	case <-g.age.C:
		g.aging = false
		g.queue.spillOld(time.Now().Add(-trackAge))
		return
	case <-ctx.Done():
		return
	case <-g.moved:
	}
	timer := time.NewTimer(time.Until(marks))
	defer timer.Stop()
	select {
	case <-g.urgent:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// finished reports whether everything is written and nothing will come, after a round with that error.
func (g *ledger) finished(err error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.round != nil {
		close(g.round)
		g.round = nil
	}
	if !g.ended || err != nil || len(g.spills) > 0 {
		return false
	}
	return !slices.ContainsFunc(g.queue.holdings.all(), func(h *holding) bool { return h.track.dirty() })
}

// await returns when a condition holds, which is looked at after each round, or with the error of ctx. The condition
// holds at the latest when nothing more is written.
func (g *ledger) await(ctx context.Context, condition func() bool) error {
	for {
		g.mu.Lock()
		if g.round == nil {
			g.round = make(chan struct{})
		}
		round := g.round
		g.mu.Unlock()
		if condition() {
			return nil
		}
		signal(g.urgent)
		select {
		case <-round:
		case <-g.done:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// write stores what is spilled, and marks. It returns the size of the marks. When something cannot be stored the marks
// are written nevertheless.
func (g *ledger) write(ctx context.Context) (size int, err error) {
	for err == nil {
		batch := g.take()
		if len(batch) == 0 {
			break
		}
		err = g.store(ctx, batch)
	}
	size, failed := g.checkpoint(ctx)
	for _, h := range g.queue.holdings.all() {
		if !h.track.empty() && !g.aging {
			g.age.Reset(agePause)
			g.aging = true
		}
	}
	return size, errors.Join(err, failed)
}

// take takes the first spills.
func (g *ledger) take() []*item {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for bytes := int64(0); n < len(g.spills) && n < storeAtOnce && bytes < storeBytesAtOnce; n++ {
		bytes += g.spills[n].size
	}
	batch := slices.Clone(g.spills[:n])
	clear(g.spills[:n])
	if g.spills = g.spills[n:]; len(g.spills) == 0 {
		g.spills = nil
	}
	return batch
}

// store stores items, with the marks that say so. After an error they are spills again, but for those of shards that
// have turned out to be other nodes'.
func (g *ledger) store(ctx context.Context, batch []*item) error {
	for {
		if batch = g.begin(batch); len(batch) == 0 {
			return nil
		}
		entries := entriesOf(batch)
		of := map[int]*holding{}
		for _, it := range batch {
			of[it.event.holding.lease.Shard] = it.event.holding
		}
		c := checkpointOf(of)
		places, err := g.queue.store.Put(ctx, c.leases, c.marks, entries...)
		if err == nil {
			c.written()
			g.each(batch, func(s *scheduler, i int) { s.stored(batch[i], places[i]) })
			return nil
		}
		if g.queue.fencedOf(of, err) {
			continue // with the rest
		}
		g.fail(batch)
		return err
	}
}

// begin returns the items that are to be stored now: not those that were delivered meanwhile, or are another node's.
func (g *ledger) begin(batch []*item) (out []*item) {
	g.each(batch, func(s *scheduler, i int) {
		it := batch[i]
		if it.event.holding.gone() || it.gone && len(it.results) == 0 {
			s.settled(it)
			return
		}
		it.keeper = storing
		it.done.Store(true) // as soon as it is stored
		out = append(out, it)
	})
	slices.SortStableFunc(out, func(a, b *item) int { return cmp.Compare(a.event.position, b.event.position) })
	return out
}

// fail makes spills of items again that could not be stored.
func (g *ledger) fail(batch []*item) {
	var again []*item
	g.each(batch, func(s *scheduler, i int) {
		it := batch[i]
		it.done.Store(false)
		it.keeper = spilling
		if n := len(it.results); n > 0 && it.results[n-1].Kind == Delivered {
			it.results = nil
			it.event.handled(it)
		}
		again = append(again, it)
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spills = append(again, g.spills...)
}

// each calls f for the index of each item, with the lock of its scheduler held.
func (g *ledger) each(batch []*item, f func(s *scheduler, i int)) {
	var held *scheduler
	for i, it := range batch {
		if s := g.queue.scheduler(it.dest.Lane.Sink); s != held {
			if held != nil {
				held.unlock()
			}
			held = s
			held.mu.Lock()
		}
		f(held, i)
	}
	if held != nil {
		held.unlock()
	}
}

// entriesOf returns the entries of items that are in order of position, one for each event.
func entriesOf(batch []*item) (entries []Entry) {
	for i, it := range batch {
		if i == 0 || it.event != batch[i-1].event {
			entries = append(entries, Entry{Event: it.Event, At: it.At, Position: it.event.position})
		}
		last := &entries[len(entries)-1]
		last.To = append(last.To, it.dest)
	}
	return entries
}

// checkpoint writes the marks that have changed.
func (g *ledger) checkpoint(ctx context.Context) (size int, err error) {
	for {
		of := map[int]*holding{}
		for _, h := range g.queue.holdings.all() {
			if h.track.dirty() && !h.gone() {
				of[h.lease.Shard] = h
			}
		}
		c := checkpointOf(of)
		if len(c.marks) == 0 {
			c.written()
			return 0, nil
		}
		err := g.queue.store.Checkpoint(ctx, c.leases, c.marks...)
		if err == nil {
			c.written()
			return c.size, nil
		}
		if !g.queue.fencedOf(of, err) {
			return 0, err
		}
	}
}

// A checkpoint is marks of several shards, with the changes that they show.
type checkpoint struct {
	leases  []bus.Lease
	marks   []Mark
	size    int
	changes map[*track]int64
}

func checkpointOf(of map[int]*holding) (c checkpoint) {
	c.changes = make(map[*track]int64, len(of))
	for _, h := range of {
		c.leases = append(c.leases, h.lease)
		m, change, ok := h.track.mark(h.lease)
		c.changes[&h.track] = change
		if ok {
			c.marks = append(c.marks, m)
			c.size += len(m.Done)
		}
	}
	return c
}

// written says that the store has the marks.
func (c *checkpoint) written() {
	for t, change := range c.changes {
		t.written.Store(change)
	}
}
