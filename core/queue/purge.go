package queue

import (
	"context"
)

// purgeAtOnce is how many deliveries are removed in one transaction, which others have to wait for.
const purgeAtOnce = 500

// purge removes deliveries of a lane, but none that an attempt has in hand; droppable ones not even if they were
// tried before, or are in the window of a lane that is being attempted. Until it is done nothing reads the lane.
func (s *scheduler) purge(ctx context.Context, l *lane, r PurgeRequest) (Purged, error) {
	if err := s.settle(ctx, l); err != nil {
		return Purged{}, err
	}
	l.storeMu.Lock()
	defer l.storeMu.Unlock()
	s.mu.Lock()
	if s.lanes.byKey[l.LaneKey] != l { // emptied and forgotten meanwhile
		s.mu.Unlock()
		return Purged{}, nil
	}
	l.pins++
	if l.state != attempting || !r.Droppable {
		s.lanes.cutWindow(l)
	}
	r.Lane, r.After, r.Until = l.LaneKey, l.last(), l.newest
	if r.Droppable {
		r.After = max(r.After, l.tried)
	} else if l.attempting == 0 {
		l.progress, l.tried = Progress{}, 0
	}
	s.mu.Unlock()

	gone, err := s.store.Purge(ctx, l.holding.lease, r)
	if err != nil {
		s.fenced(l.holding, err)
	}

	s.mu.Lock()
	defer s.unlock()
	if l.dropped {
		l.pins--
		return gone, err
	}
	if s.lanes.less(l, gone); l.waiting == 0 {
		s.reconsider(l)
	}
	s.unpin(l)
	return gone, err
}
