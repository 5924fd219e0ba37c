package tail

import (
	"context"

	"github.com/evosink/evosink/core/bus"
)

// A window holds at most so many entries, and bytes unless it is a single entry.
const (
	windowLength = 64
	windowBytes  = 1 << 20
)

// A window is what a group's subscription has taken of its shard and the reader has not passed. One entry of each instance is under way, the
// others of that instance wait behind it; so instances do not wait for each other, and a group that commits what it makes of a
// message can do so for many at once. The reader passes an entry when all before it are acked too. The subscription's goroutine owns it.
type window struct {
	*subscription
	ahead []Entry            // read, but not taken yet
	held  []*slot            // in the order of the log
	lines map[string][]*slot // by instance, none empty; the first is under way
	bytes int
	under int // slots under way, each a goroutine
	ended chan end
}

type slot struct {
	entry    Entry
	instance string
	acked    bool
}

// An end says that a slot is not under way any more: it is acked, or ctx has ended.
type end struct {
	*slot
	acked bool
}

// spread hands entries over until ctx ends.
func (s *subscription) spread(ctx context.Context) {
	w := &window{subscription: s, lines: map[string][]*slot{}, ended: make(chan end)}
	defer w.drain()
	for {
		wake, ok := w.fill(ctx)
		if !ok {
			return
		}
		select {
		case <-wake:
		case e := <-w.ended:
			w.end(e)
			w.next(ctx, e.slot)
		case <-ctx.Done():
			return
		}
	}
}

// fill takes entries while there are some, and room. If wake is not nil it is closed when there are more. ok is false when ctx has ended.
func (w *window) fill(ctx context.Context) (wake <-chan struct{}, ok bool) {
	for w.room() {
		if len(w.ahead) == 0 {
			if w.ahead, wake, ok = w.ready(ctx); len(w.ahead) == 0 {
				return wake, ok
			}
		}
		w.take(ctx, w.ahead[0])
		w.ahead = w.ahead[1:]
	}
	return nil, true
}

func (w *window) room() bool {
	return len(w.held) == 0 || len(w.held) < windowLength && w.bytes < windowBytes
}

func (w *window) take(ctx context.Context, e Entry) {
	s := &slot{entry: e, instance: bus.InstanceOf(e.Message)}
	w.taken = e.Position
	w.held = append(w.held, s)
	w.bytes += bus.Size(e.Message)
	line := append(w.lines[s.instance], s)
	w.lines[s.instance] = line
	if len(line) == 1 {
		w.begin(ctx, s)
	}
}

// begin hands a slot's entry over. Only the oldest brings its cursor along: moved to any other, it would pass what is not acked yet.
func (w *window) begin(ctx context.Context, s *slot) {
	if w.held[0] == s {
		ctx = w.withCursor(ctx, s.entry)
	}
	w.under++
	go func() { w.ended <- end{s, w.hand(ctx, s.entry)} }()
}

func (w *window) end(e end) {
	w.under--
	e.slot.acked = e.acked
	w.pass()
}

// next begins what waits behind a slot that has ended.
func (w *window) next(ctx context.Context, s *slot) {
	if !s.acked {
		return // ctx has ended
	}
	if line := w.lines[s.instance][1:]; len(line) > 0 {
		w.lines[s.instance] = line
		w.begin(ctx, line[0])
	} else {
		delete(w.lines, s.instance)
	}
}

// pass moves the reader behind all that is acked without a gap.
func (w *window) pass() {
	n := 0
	for n < len(w.held) && w.held[n].acked {
		w.bytes -= bus.Size(w.held[n].entry.Message)
		n++
	}
	if n == 0 {
		return
	}
	to := w.held[n-1].entry.Position
	w.held = append(w.held[:0], w.held[n:]...)
	if w.reader.move(to) {
		w.moved()
	}
}

// drain waits for what is under way when ctx has ended.
func (w *window) drain() {
	for w.under > 0 {
		w.end(<-w.ended)
	}
}
