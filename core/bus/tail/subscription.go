package tail

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
)

// A batch has at most a page of entries, and so many bytes unless it is a single entry.
const batchBytes = 1 << 20

// A subscription hands the entries before its reader to one channel.
type subscription struct {
	owner  *subscriber
	log    *Log
	reader *Reader
	out    *bus.Outlet
	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended
	taken  int64         // position up to which there is nothing left to take; run's own
}

func (s *subscription) run(ctx context.Context) {
	defer close(s.done)
	defer s.owner.node.remove(s)
	defer s.cancel()
	defer s.out.Close()
	defer s.part()
	var ok bool
	if s.taken, ok = s.log.enter(ctx, s.reader); !ok {
		return
	}
	defer s.log.leave(s.reader)
	if s.reader.Group == "" || s.log.Enter == nil {
		s.read(ctx)
		return
	}
	for ctx.Err() == nil {
		s.readHeld(ctx)
	}
}

// readHeld hands entries over while this process is the one that reads the shard.
func (s *subscription) readHeld(ctx context.Context) {
	held, at, leave, ok := s.log.Enter(ctx, s.reader)
	if !ok {
		return
	}
	defer leave()
	defer s.log.pass(s.reader, vacant)
	s.taken = at
	s.log.begin(s.reader, at)
	s.read(held)
}

// read hands over the entries before the reader until ctx ends.
func (s *subscription) read(ctx context.Context) {
	if s.reader.Group == "" || s.out.Batches() {
		s.follow(ctx)
	} else {
		s.spread(ctx)
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

// follow hands entries over in order, one batch or message after the other, until ctx ends.
func (s *subscription) follow(ctx context.Context) {
	for {
		entries, ok := s.next(ctx)
		if !ok {
			return
		}
		for n := 1; len(entries) > 0; entries = entries[n:] {
			if s.out.Batches() {
				n = batchLength(entries)
			}
			if !s.hand(ctx, entries[:n]) {
				return
			}
		}
	}
}

// batchLength returns how many of the first entries make a batch.
func batchLength(entries []Entry) (n int) {
	for bytes := 0; n < min(len(entries), page); n++ {
		if bytes += bus.Size(entries[n].Message); bytes > batchBytes && n > 0 {
			break
		}
	}
	return n
}

// hand hands entries over until they are acked, and then moves the reader behind them, unless they are kept. acked is
// false when ctx ended first.
func (s *subscription) hand(ctx context.Context, entries []Entry) (acked bool) {
	b := bus.Batch{Messages: make([]*message.Message, len(entries))}
	if s.out.Batches() {
		b.Cursors = make([]bus.Cursor, len(entries))
	}
	for i, e := range entries {
		b.Messages[i] = e.Message
		if b.Cursors != nil {
			b.Cursors[i] = bus.Cursor{Group: s.reader.Group, Shard: e.Shard, Position: bus.Position(e.Position)}
		}
	}
	acked, kept := s.out.Hand(ctx, b)
	if !acked {
		return false
	}
	s.taken = entries[len(entries)-1].Position
	if kept = kept && s.reader.Group != ""; !kept && s.reader.move(s.taken) {
		s.moved()
	}
	s.log.pass(s.reader, s.taken)
	return true
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

// ready returns the entries behind those taken. If there is none, wake is closed as soon as there is one. ok is false
// when ctx ended before storage had answered.
func (s *subscription) ready(ctx context.Context) (entries []Entry, wake <-chan struct{}, ok bool) {
	for {
		entries, wake, floor := s.log.After(s.reader.Shard, s.taken)
		if s.taken >= floor {
			return entries, wake, true
		}
		entries, ok := s.load(ctx, s.taken)
		if !ok {
			return nil, nil, false
		}
		if n := len(entries); n > 0 {
			s.miss(entries[n-1].Position, n)
			return entries, nil, true
		}
		s.miss(floor, 0)
		s.taken = floor // storage holds nothing up to there: every entry of it was stored before it left the tail
	}
}

// miss tells of the entries up to a position, but for the n that were read, that storage had removed before they could
// be taken. Positions of one shard have gaps anyway.
func (s *subscription) miss(to int64, n int) {
	if missed := to - s.taken - int64(n); s.reader.Shard == All && s.log.Missed != nil && missed > 0 {
		s.log.Missed(missed)
	}
}

// load asks storage until it answers.
func (s *subscription) load(ctx context.Context, position int64) (entries []Entry, ok bool) {
	if s.log.Read == nil {
		return nil, ctx.Err() == nil
	}
	ok = bus.Retry(ctx, func() (done bool) {
		var err error
		entries, err = s.log.Read(ctx, s.reader.Shard, position)
		return err == nil
	})
	return entries, ok
}
