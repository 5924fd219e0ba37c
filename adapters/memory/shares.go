package memory

import (
	"context"
	"maps"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/queue"
)

// A share is what the log holds of one instance, or of all.
type share struct{ events, bytes int }

// grow counts an entry that was added (sign 1) or removed (-1). Held: mu.
func (e *Engine) grow(entry tail.Entry, sign int) {
	instance, n := bus.InstanceOf(entry.Message), bus.Size(entry.Message)
	s := e.shares[instance]
	if s == nil {
		s = &share{}
		e.shares[instance] = s
	}
	for _, s := range []*share{s, &e.held} {
		s.events += sign
		s.bytes += sign * n
	}
	if s.events == 0 {
		delete(e.shares, instance)
	}
}

// trim drops entries until at most so many events and bytes are left, and reports whether that is so: the oldest of all
// while its instance holds an equal part of the log or more; when it holds less, the oldest of those that hold most.
// Held: mu.
func (e *Engine) trim(events, bytes int) bool {
	spared := false
	done := e.log.Trim(events, bytes, func(entry tail.Entry) (stays bool) {
		if e.log.Need(entry) {
			return true
		}
		n, s := len(e.shares), e.shares[bus.InstanceOf(entry.Message)]
		if (e.held.events <= events || s.events*n < e.held.events) && (e.held.bytes <= bytes || s.bytes*n < e.held.bytes) {
			spared = true
			return true
		}
		e.grow(entry, -1)
		return false
	})
	if done || !spared {
		return done
	}
	e.dropExcess(events, bytes)
	return e.log.Trim(events, bytes, func(tail.Entry) bool { return true })
}

// slack is the part of a bound that is freed beyond it when entries are dropped from among others, so that this is not
// done for each that follows.
const slack = 64

// dropExcess drops the oldest entries of the instances that hold most, up to the first of each that a reader needs.
func (e *Engine) dropExcess(events, bytes int) {
	counts, sizes := make(map[string]int, len(e.shares)), make(map[string]int, len(e.shares))
	for instance, s := range e.shares {
		counts[instance], sizes[instance] = s.events, s.bytes
	}
	excess := map[string]share{} // what has to go
	if e.held.events > events {
		for instance, n := range queue.Excess(counts, events-events/slack) {
			excess[instance] = share{events: n}
		}
	}
	if e.held.bytes > bytes {
		for instance, n := range queue.Excess(sizes, bytes-bytes/slack) {
			excess[instance] = share{excess[instance].events, n}
		}
	}
	e.cull(func(entry tail.Entry) (drop, more bool) {
		instance := bus.InstanceOf(entry.Message)
		over, ok := excess[instance]
		if ok {
			over.events--
			over.bytes -= bus.Size(entry.Message)
			excess[instance] = over
			if drop = !e.log.Need(entry); !drop || over.events <= 0 && over.bytes <= 0 {
				delete(excess, instance)
			}
		}
		return drop, len(excess) > 0
	})
}

// cull drops entries from among others, see [tail.Tail.Cull], and returns how many. What is dropped is noted first, so
// that a replay does not take what it finds for all there was. Held: mu.
func (e *Engine) cull(visit func(tail.Entry) (drop, more bool)) int {
	dropped := map[int64]bool{}
	e.log.Cull(func(entry tail.Entry) (drop, more bool) {
		if drop, more = visit(entry); drop {
			dropped[entry.Position] = true
			e.cut = max(e.cut, entry.Position)
			e.cuts[bus.InstanceOf(entry.Message)] = entry.Position
			e.grow(entry, -1)
		}
		return drop, more
	})
	e.ids.remove(dropped)
	floor := e.log.Floor()
	maps.DeleteFunc(e.cuts, func(_ string, cut int64) bool { return cut <= floor })
	return len(dropped)
}

// lacks reports whether entries behind a position were dropped of an instance, "" for all.
func (e *Engine) lacks(instance string, after int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	cut := e.cut
	if instance != "" {
		cut = e.cuts[instance]
	}
	return after < max(cut, e.log.Floor())
}

// EraseEvents implements [bus.Eraser].
func (b *Bus) EraseEvents(ctx context.Context, of bus.Erasure) (n int, left bool, err error) {
	if err := ctx.Err(); err != nil {
		return 0, false, err
	}
	e := b.engine
	born := e.bornAt(of.Instance)
	e.mu.Lock()
	defer e.mu.Unlock()
	n = e.cull(func(entry tail.Entry) (drop, more bool) {
		id := bus.RecordOf(entry.Message)
		switch {
		case bus.InstanceOf(entry.Message) != of.Instance || !of.Has(id):
		case of.Present != "" && id == "" && entry.Position > born:
		default:
			for _, r := range e.log.Groups() {
				left = left || r.Open() && r.Needs(entry)
			}
			drop = !left
		}
		return drop, !left
	})
	if n > 0 && e.room != nil {
		close(e.room)
		e.room = nil
	}
	return n, left, nil
}
