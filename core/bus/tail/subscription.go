package tail

import (
	"context"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
)

// The pause after a nack, or after an error of storage: it doubles from the first to the longest.
const (
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
)

// A subscription hands the entries before its reader to one channel.
type subscription struct {
	owner  *subscriber
	log    *Log
	reader *Reader
	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended
	taken  int64         // position up to which there is nothing left to take; run's own

	// One of the two is nil: nothing is ever sent on it.
	messages chan *message.Message
	batches  chan *bus.Batch
}

func (s *subscription) run(ctx context.Context) {
	defer close(s.done)
	defer s.owner.node.remove(s)
	defer s.cancel()
	defer s.closeOut()
	defer s.part()
	if s.reader.enter(ctx) {
		defer s.reader.leave()
		s.taken = s.reader.Position()
		s.log.pass(s.reader, s.taken)
		if s.reader.Group == "" {
			s.follow(ctx)
		} else {
			s.spread(ctx)
		}
	}
}

func (s *subscription) closeOut() {
	if s.messages != nil {
		close(s.messages)
	} else {
		close(s.batches)
	}
}

func (s *subscription) part() {
	s.log.part(s.reader)
	if s.reader.Group == "" {
		s.moved()
	}
}

func (s *subscription) moved() {
	if s.log.Moved != nil {
		s.log.Moved(s.reader)
	}
}

// follow hands over one entry after the other until ctx ends.
func (s *subscription) follow(ctx context.Context) {
	for {
		entries, ok := s.next(ctx)
		if !ok {
			return
		}
		for _, e := range entries {
			if !s.hand(ctx, []*message.Message{e.Message}, s.cursor(e)) {
				return
			}
			s.taken = e.Position
			if s.reader.move(e.Position) {
				s.moved()
			}
		}
	}
}

// next returns the entries behind those taken, waiting until there are some. ok is false when ctx ended first.
func (s *subscription) next(ctx context.Context) (entries []Entry, ok bool) {
	for {
		entries, wake, ok := s.ready(ctx)
		if !ok || len(entries) > 0 {
			return entries, ok
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// ready returns the entries behind those taken. If there is none, wake is closed as soon as there is one. ok is false when ctx
// ended before storage had answered.
func (s *subscription) ready(ctx context.Context) (entries []Entry, wake <-chan struct{}, ok bool) {
	for {
		entries, wake, floor := s.log.After(s.reader.Shard, s.taken)
		if s.taken >= floor {
			return entries, wake, true
		}
		entries, ok := s.read(ctx, s.taken)
		if !ok {
			return nil, nil, false
		}
		if len(entries) > 0 {
			s.miss(entries[0].Position - 1)
			return entries, nil, true
		}
		s.miss(floor)
		s.taken = floor // storage holds nothing up to there: every entry of it was stored before it left the tail
	}
}

// miss tells of entries up to a position that storage had removed before they could be taken. Positions of one shard have gaps anyway.
func (s *subscription) miss(to int64) {
	if s.reader.Shard == All && s.log.Missed != nil && to > s.taken {
		s.log.Missed(to - s.taken)
	}
}

// read asks storage until it answers.
func (s *subscription) read(ctx context.Context, position int64) (entries []Entry, ok bool) {
	if s.log.Read == nil {
		return nil, ctx.Err() == nil
	}
	for pause := firstPause; ; pause = longer(pause) {
		entries, err := s.log.Read(ctx, s.reader.Shard, position)
		if err == nil {
			return entries, true
		}
		if !wait(ctx, pause) {
			return nil, false
		}
	}
}

// hand offers copies of the first of some messages, with the others if the subscription is one of batches, until one is
// acked. It is false when ctx ended first.
func (s *subscription) hand(ctx context.Context, messages []*message.Message, at *bus.Cursor) (acked bool) {
	for pause := firstPause; ; pause = longer(pause) {
		acked, nacked := s.offer(ctx, messages, at)
		if !nacked {
			return acked
		}
		if !wait(ctx, pause) {
			return false
		}
	}
}

// offer hands over one copy and waits for the answer; neither is true when ctx ended first.
func (s *subscription) offer(ctx context.Context, messages []*message.Message, at *bus.Cursor) (acked, nacked bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := messages[0].Copy()
	m.SetContext(ctx)
	var batch *bus.Batch
	if s.batches != nil {
		batch = &bus.Batch{Messages: slices.Clone(messages), Cursor: at}
		batch.Messages[0] = m
	}
	select {
	case s.messages <- m:
	case s.batches <- batch:
	case <-ctx.Done():
		return false, false
	}
	select {
	case <-m.Acked():
		return true, false
	case <-m.Nacked():
		return false, true
	case <-ctx.Done():
		return isClosed(m.Acked()), false // an ack that came at the same moment counts
	}
}

// cursor is where the reader stands behind an entry; nil if there is nothing to tell it to.
func (s *subscription) cursor(e Entry) *bus.Cursor {
	if s.batches == nil {
		return nil
	}
	return &bus.Cursor{Group: s.reader.Group, Shard: e.Shard, Position: bus.Position(e.Position)}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func longer(pause time.Duration) time.Duration { return min(2*pause, longestPause) }

// wait reports whether d has passed before ctx ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
