package queue

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/evosink/evosink/core/bus"
)

// A ledger writes down, behind what is delivered, what the store has to know of deliveries that the log answers for:
// those that are spilled, and marks of how far each shard is handled. One goroutine writes, so that a mark never says
// less than the one before it.
type ledger struct {
	queue   *Queue
	moved   chan struct{} // holds a token when a track has changed
	spilled chan struct{} // holds a token when there is something to store
	done    chan struct{} // closed when nothing more is written

	// used by run only
	age   *time.Timer // when the age of what is not handled is looked at, while there is something
	aging bool        // it is set
	due   time.Time   // when marks may be written again

	mu sync.Mutex
	// mu guards the fields below.
	spills []*item       // in order; those of a lane in the order of the lane
	round  chan struct{} // closed after the next round; nil while nothing waits for that
	failed error         // of the last round
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
	// markPause is how long the next marks wait for each byte of the last ones, so that long ones are not written often.
	markPause    = 2 * time.Microsecond
	markPauseMax = 50 * time.Millisecond
)

func newLedger(q *Queue) *ledger {
	return &ledger{queue: q, moved: make(chan struct{}, 1), spilled: make(chan struct{}, 1), done: make(chan struct{})}
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
	signal(g.spilled)
}

// end lets run return when everything is written.
func (g *ledger) end() {
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
	g.wake()
}

// run writes until ctx ends, or until there is nothing to write and end was called.
func (g *ledger) run(ctx context.Context) {
	defer close(g.done)
	g.age = time.NewTimer(agePause)
	g.aging = true
	defer g.age.Stop()
	for failures := 0; ; {
		err := g.write(ctx)
		if failures++; err == nil {
			failures = 0
		} else {
			g.due = time.Now().Add(min(ledgerPause<<min(failures-1, 10), ledgerPauseMax))
			if ctx.Err() == nil {
				g.queue.log.Error().Err(err).Msg("how far the log is delivered could not be written down; trying again")
			}
		}
		if ctx.Err() != nil || g.finished(err) {
			return
		}
		g.wait(ctx, err != nil)
	}
}

// wait returns when there may be something to write: for spills at once unless the store has failed, for marks when they
// are due.
func (g *ledger) wait(ctx context.Context, failed bool) {
	if pause := time.Until(g.due); pause > 0 {
		spilled := g.spilled
		if failed {
			spilled = nil
		}
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-spilled:
			return
		case <-ctx.Done():
			return
		}
		if failed {
			return
		}
	}
	select {
	case <-g.spilled:
	case <-g.moved:
	case <-g.age.C:
		g.spillOld()
	case <-ctx.Done():
	}
}

// spillOld has stored what was taken from the log a while ago and is not handled.
func (g *ledger) spillOld() {
	g.aging = false
	g.queue.spillOld(time.Now().Add(-trackAge))
}

// finished reports whether everything is written and nothing will come, after a round with that error.
func (g *ledger) finished(err error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failed = err
	if g.round != nil {
		close(g.round)
		g.round = nil
	}
	if !g.ended || err != nil || len(g.spills) > 0 {
		return false
	}
	return len(g.changed()) == 0
}

// await returns when a condition holds, which is looked at after each round, or with the error of ctx, or, unless it is
// patient, of a round that has failed. The condition holds at the latest when nothing more is written.
func (g *ledger) await(ctx context.Context, patient bool, condition func() bool) error {
	for {
		g.mu.Lock()
		if g.round == nil {
			g.round = make(chan struct{})
		}
		round, failed := g.round, g.failed
		g.mu.Unlock()
		if condition() {
			return nil
		}
		if failed != nil && !patient {
			return failed
		}
		g.wake()
		select {
		case <-round:
		case <-g.done:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// write stores the first of what is spilled, with marks, or writes marks alone if there is nothing to store, or it cannot
// be stored. What does not find room is for the next round: whoever waits for one, and the marks of other shards, wait no
// longer because one shard has much to store.
func (g *ledger) write(ctx context.Context) (err error) {
	select {
	case <-g.age.C:
		g.spillOld()
	default:
	}
	batch, more := g.take()
	if more {
		signal(g.spilled)
	}
	stored, err := g.store(ctx, batch)
	if !stored {
		err = errors.Join(err, g.checkpoint(ctx))
	}
	for _, h := range g.queue.holdings.all() {
		if !h.track.empty() && !g.aging {
			g.age.Reset(agePause)
			g.aging = true
		}
	}
	return err
}

// changed returns the shards with marks that are behind, by their numbers.
func (g *ledger) changed() map[int]*holding {
	of := map[int]*holding{}
	for _, h := range g.queue.holdings.all() {
		if h.track.dirty() && !h.gone() {
			of[h.lease.Shard] = h
		}
	}
	return of
}

// take takes the first spills, and reports whether there are more.
func (g *ledger) take() (batch []*item, more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for bytes := int64(0); n < len(g.spills) && n < storeAtOnce && bytes < storeBytesAtOnce; n++ {
		bytes += g.spills[n].size
	}
	batch = slices.Clone(g.spills[:n])
	clear(g.spills[:n])
	if g.spills = g.spills[n:]; len(g.spills) == 0 {
		g.spills = nil
	}
	return batch, g.spills != nil
}

// store stores items, with the marks that say so, and all marks that have changed if they are due. It reports whether
// there was something to store, and that is done. After an error they are spills again, but for those of shards that have
// turned out to be other nodes'.
func (g *ledger) store(ctx context.Context, batch []*item) (stored bool, err error) {
	for {
		if batch = g.begin(batch); len(batch) == 0 {
			return false, nil
		}
		entries := entriesOf(batch)
		of, all := map[int]*holding{}, !time.Now().Before(g.due)
		if all {
			of = g.changed()
		}
		for _, it := range batch {
			of[it.event.holding.lease.Shard] = it.event.holding
		}
		c := checkpointOf(of)
		places, err := g.queue.store.Put(ctx, c.leases, c.marks, entries...)
		if err == nil {
			if c.written(); all {
				g.due = time.Now().Add(c.pause())
			}
			g.each(batch, func(s *scheduler, i int) { s.stored(batch[i], places[i]) })
			return true, nil
		}
		if g.queue.fencedOf(of, err) {
			continue // with the rest
		}
		g.fail(batch)
		return false, err
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
func (g *ledger) checkpoint(ctx context.Context) error {
	for {
		of := g.changed()
		c := checkpointOf(of)
		if len(c.marks) == 0 {
			c.written()
			return nil
		}
		err := g.queue.store.Checkpoint(ctx, c.leases, c.marks...)
		if err == nil {
			c.written()
			g.due = time.Now().Add(c.pause())
			return nil
		}
		if !g.queue.fencedOf(of, err) {
			return err
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

// pause returns how long the next marks wait for these.
func (c *checkpoint) pause() time.Duration { return min(time.Duration(c.size)*markPause, markPauseMax) }
