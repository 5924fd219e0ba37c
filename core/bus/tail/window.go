package tail

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
)

// A window holds at most so many entries, and bytes unless it is a single entry.
const (
	windowLength = 64
	windowBytes  = 1 << 20
)

// A window is what a group's subscription of single messages has taken of its shard and the reader has not passed.
// Instances do not wait for each other: each has its line, the first entry of which is under way while the others wait.
// The reader passes an entry when all before it are acked too. The subscription's goroutine owns the window.
type window struct {
	*subscription
	ahead []Entry // read, but not taken yet
	held  []*slot // taken, in the order of the log
	bytes int     // of held
	lines map[string]*line
	fresh []*line // those that have not begun
	under int     // lines under way, each with a goroutine
	ended chan end
}

type slot struct {
	Entry
	acked bool
}

// A line is the entries of an instance.
type line struct {
	instance string
	first    *slot // under way
	waiting  []*slot
}

// An end says that the entry under way of a line is not any more: it is acked, or ctx has ended.
type end struct {
	*line
	acked bool
}

// spread hands entries over until ctx ends.
func (s *subscription) spread(ctx context.Context) {
	w := &window{subscription: s, lines: map[string]*line{}, ended: make(chan end)}
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
			w.next(ctx, e.line)
		case <-ctx.Done():
			return
		}
	}
}

// fill takes entries while there are some, and room. If wake is not nil it is closed when there are more. ok is false
// when ctx has ended.
func (w *window) fill(ctx context.Context) (wake <-chan struct{}, ok bool) {
	defer w.start(ctx)
	for w.room() {
		if len(w.ahead) == 0 {
			if w.ahead, wake, ok = w.ready(ctx); len(w.ahead) == 0 {
				return wake, ok
			}
		}
		w.take(w.ahead[0])
		w.ahead = w.ahead[1:]
	}
	return nil, true
}

func (w *window) room() bool {
	return len(w.held) == 0 || len(w.held) < windowLength && w.bytes < windowBytes
}

func (w *window) take(e Entry) {
	s := &slot{Entry: e}
	w.taken = e.Position
	w.held = append(w.held, s)
	w.bytes += bus.Size(e.Message)
	instance := bus.InstanceOf(e.Message)
	l := w.lines[instance]
	if l == nil {
		l = &line{instance: instance}
		w.lines[instance] = l
		w.fresh = append(w.fresh, l)
	}
	l.waiting = append(l.waiting, s)
}

// start begins the lines that have not.
func (w *window) start(ctx context.Context) {
	for _, l := range w.fresh {
		w.begin(ctx, l)
	}
	w.fresh = nil
}

// begin hands over the first that waits in a line.
func (w *window) begin(ctx context.Context, l *line) {
	l.first, l.waiting = l.waiting[0], l.waiting[1:]
	w.under++
	go func() {
		acked, _ := w.out.Hand(ctx, bus.Batch{Messages: []*message.Message{l.first.Message}})
		w.ended <- end{l, acked}
	}()
}

func (w *window) end(e end) {
	w.under--
	e.first.acked = e.acked
	w.pass()
}

// next begins what waits in a line behind the entry that was under way.
func (w *window) next(ctx context.Context, l *line) {
	switch {
	case !l.first.acked: // ctx has ended
	case len(l.waiting) > 0:
		w.begin(ctx, l)
	default:
		delete(w.lines, l.instance)
	}
}

// pass moves the reader behind all that is acked without a gap.
func (w *window) pass() {
	n := 0
	for n < len(w.held) && w.held[n].acked {
		w.bytes -= bus.Size(w.held[n].Message)
		n++
	}
	if n == 0 {
		return
	}
	to := w.held[n-1].Position
	w.held = append(w.held[:0], w.held[n:]...)
	moved := w.reader.move(to)
	w.log.pass(w.reader, to)
	if moved {
		w.moved()
	}
}

// drain waits for what is under way when ctx has ended.
func (w *window) drain() {
	for w.under > 0 {
		w.end(<-w.ended)
	}
}
