package queue

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A ledger writes down, behind what is delivered, what the store has to know of deliveries that the log answers for:
// those that are spilled, and marks of how far each shard is handled. One goroutine writes, so that a mark never says
// less than the one before it.
type ledger struct {
	queue  *Queue
	moved  *time.Timer   // set when a track has changed, to when that may be marked
	winded atomic.Bool   // it is set
	pause  atomic.Int64  // for how long, in nanoseconds
	urgent chan struct{} // holds a token when there is something to store, or something waits for the next round
	done   chan struct{} // closed when nothing more is written

	// used by run only
	storing turn
	marking turn
	age     *time.Timer  // when the age of what is not handled is looked at, while there is something
	aging   bool         // it is set
	doubt   map[int]Mark // by shard, of the last Put that failed: it may have been done nevertheless

	mu sync.Mutex
	// mu guards the fields below.
	spills []*item       // in order; those of a lane in the order of the lane
	round  chan struct{} // closed after the next round; nil while nothing waits for that
	failed error         // why spills cannot be stored
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
	// Marks are written markPause after something has moved, and later for each byte of the last ones, so that long ones
	// are not written often.
	markPause     = 3 * time.Millisecond
	markBytePause = 2 * time.Microsecond
	markPauseMax  = 50 * time.Millisecond
)

// A turn says when something may be written again.
type turn struct {
	due      time.Time
	failures int // in a row
}

func (t *turn) isNow() bool { return !time.Now().Before(t.due) }

// next puts the next turn off for a pause, or after a failure for one that grows with each.
func (t *turn) next(pause time.Duration, err error) {
	if err == nil {
		t.failures = 0
	} else {
		pause = min(ledgerPause<<min(t.failures, 10), ledgerPauseMax)
		t.failures++
	}
	t.due = time.Now().Add(pause)
}

func newLedger(q *Queue) *ledger {
	g := &ledger{queue: q, urgent: make(chan struct{}, 1), done: make(chan struct{}), moved: time.NewTimer(time.Hour)}
	g.moved.Stop()
	g.pause.Store(int64(markPause))
	return g
}

// wake has run look at the tracks in a moment: what moves until then shares a mark. It may be called with any lock held.
func (g *ledger) wake() {
	if !g.winded.Load() && !g.winded.Swap(true) {
		g.moved.Reset(time.Duration(g.pause.Load()))
	}
}

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
	for ctx.Err() == nil {
		err := g.write(ctx)
		if err != nil && ctx.Err() == nil {
			g.queue.log.Error().Err(err).Msg("how far the log is delivered could not be written down; trying again")
		}
		if g.finished(err) {
			return
		}
		g.wait(ctx)
	}
}

// wait returns when there may be something to write: what is urgent at once, marks when they are due, and what could not
// be stored when that is to be tried again.
func (g *ledger) wait(ctx context.Context) {
	var again <-chan time.Time
	if g.storing.failures > 0 {
		timer := time.NewTimer(time.Until(g.storing.due))
		defer timer.Stop()
		again = timer.C
	}
	select {
	case <-g.moved.C:
		g.winded.Store(false)
	case <-g.urgent:
	case <-again:
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

// finished ends a round that came to that error, and reports whether everything is written and nothing will come.
func (g *ledger) finished(err error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.round != nil {
		close(g.round)
		g.round = nil
	}
	return g.ended && err == nil && len(g.spills) == 0 && len(g.changed()) == 0
}

// await returns when a condition holds, which is looked at after each round, or with the error of ctx, or, unless it is
// patient, if what is spilled cannot be stored. The condition holds at the latest when nothing more is written.
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

// write stores the first of what is spilled, with marks, or writes marks alone if there is nothing to store, or it cannot
// be stored. What does not find room is for the next round: whoever waits for one, and the marks of other shards, wait no
// longer because one shard has much to store.
func (g *ledger) write(ctx context.Context) (err error) {
	select {
	case <-g.age.C:
		g.spillOld()
	default:
	}
	stored := false
	if g.storing.isNow() {
		stored, err = g.storeFirst(ctx)
		g.storing.next(0, err)
		g.mu.Lock()
		g.failed = err
		g.mu.Unlock()
	}
	if !stored && (g.marking.isNow() || g.isAwaited()) {
		size, failed := g.checkpoint(ctx)
		g.marked(size, failed)
		err = errors.Join(err, failed)
	}
	for _, h := range g.queue.holdings.all() {
		if !h.track.empty() && !g.aging {
			g.age.Reset(agePause)
			g.aging = true
		}
		if h.track.dirty() && !h.gone() {
			g.wake()
		}
	}
	return err
}

// marked puts the next marks off after some of that size were written, or could not be.
func (g *ledger) marked(size int, err error) {
	g.marking.next(min(time.Duration(size)*markBytePause, markPauseMax), err)
	g.pause.Store(int64(max(markPause, time.Until(g.marking.due))))
}

// isAwaited reports whether something waits for the end of the round.
func (g *ledger) isAwaited() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.round != nil || g.ended
}

// changed returns the shards with marks that are behind, by their numbers, but for those of which the store may have one
// that is further.
func (g *ledger) changed() map[int]*holding {
	of := map[int]*holding{}
	for _, h := range g.queue.holdings.all() {
		if _, doubtful := g.doubt[h.lease.Shard]; h.track.dirty() && !h.gone() && !doubtful {
			of[h.lease.Shard] = h
		}
	}
	return of
}

// storeFirst stores the first of what is spilled, and reports whether there was something. If it cannot be stored
// together, each shard's part is tried alone, so that what the store refuses of one holds up no other.
func (g *ledger) storeFirst(ctx context.Context) (stored bool, err error) {
	if err := g.resolve(ctx); err != nil {
		return false, err
	}
	batch := g.begin(g.take())
	if len(batch) == 0 {
		return false, nil
	}
	again, err := g.store(ctx, batch)
	if parts := byShard(again); len(parts) > 1 {
		again = nil
		for _, part := range parts {
			if g.resolve(ctx) == nil {
				var failed error
				part, failed = g.store(ctx, g.begin(part))
				err = cmp.Or(failed, err)
			}
			again = append(again, part...)
		}
	}
	if err == nil {
		return true, nil
	}
	_ = g.resolve(ctx) // else it is asked again before the next Put
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spills = append(again, g.spills...)
	return false, err
}

func byShard(batch []*item) map[*holding][]*item {
	parts := map[*holding][]*item{}
	for _, it := range batch {
		parts[it.event.holding] = append(parts[it.event.holding], it)
	}
	return parts
}

// take takes the first spills.
func (g *ledger) take() (batch []*item) {
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
	} else {
		signal(g.urgent)
	}
	return batch
}

// store stores items, with the marks that say so, and all marks that have changed if they are due. After an error it
// returns those that are to be stored again: not those of shards that have turned out to be other nodes'.
func (g *ledger) store(ctx context.Context, batch []*item) (again []*item, err error) {
	for ; len(batch) > 0; batch = g.begin(batch) {
		entries := entriesOf(batch)
		of, all := map[int]*holding{}, g.marking.isNow()
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
				g.marked(c.size, nil)
			}
			g.each(batch, func(s *scheduler, i int) { s.stored(batch[i], places[i]) })
			return nil, nil
		}
		if !g.queue.fencedOf(of, err) {
			g.doubt = c.byShard()
			return g.fail(batch), err
		}
	}
	return nil, nil
}

// resolve finds out whether a Put that failed has been done nevertheless, as when the answer to a commit was lost. The
// shards that it was about are then given up, because what was stored has places that are not known here: their next
// owner, which may be this node, reads them. Until it is known nothing more is stored, nor marked of these shards.
func (g *ledger) resolve(ctx context.Context) error {
	if g.doubt == nil {
		return nil
	}
	var shards []int
	for shard := range g.doubt {
		shards = append(shards, shard)
	}
	marks, err := g.queue.store.Marks(ctx, shards...)
	if err != nil {
		return err
	}
	for _, m := range marks {
		tried := g.doubt[m.Cursor.Shard]
		if m.Cursor == tried.Cursor && bytes.Equal(m.Done, tried.Done) {
			g.queue.giveUp(m.Cursor.Shard)
		}
	}
	g.doubt = nil
	return nil
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
	slices.SortStableFunc(out, func(a, b *item) int {
		return cmp.Or(cmp.Compare(a.event.holding.lease.Shard, b.event.holding.lease.Shard),
			cmp.Compare(a.event.position, b.event.position))
	})
	return out
}

// fail makes spills of items again that could not be stored.
func (g *ledger) fail(batch []*item) []*item {
	g.each(batch, func(s *scheduler, i int) {
		it := batch[i]
		it.done.Store(false)
		it.keeper = spilling
		if n := len(it.results); n > 0 && it.results[n-1].Kind == Delivered {
			it.results = nil
			it.event.handled(it)
		}
	})
	return batch
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

// entriesOf returns the entries of items that are in order of shard and position, one for each event.
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

// checkpoint writes the marks that have changed, and returns their size.
func (g *ledger) checkpoint(ctx context.Context) (size int, err error) {
	for {
		of := g.changed()
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
