package bus

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// LocalLeases are the [Leases] of an engine that has all its nodes in this process.
type LocalLeases struct {
	ttl time.Duration
	now func() time.Time

	mu sync.Mutex
	// mu guards the fields below.
	nodes   map[string]time.Time // when each is taken for dead
	held    map[seat]Lease       // some of them may have ended
	epochs  map[seat]int64       // the last one given
	changed chan struct{}
}

var _ Leases = (*LocalLeases)(nil)

// NewLocalLeases returns leases that last for ttl by a clock of this process's times; with ttl 0 they do
// not end, and every epoch is 1.
func NewLocalLeases(ttl time.Duration, now func() time.Time) *LocalLeases {
	return &LocalLeases{
		ttl: ttl, now: now, nodes: map[string]time.Time{}, held: map[seat]Lease{}, epochs: map[seat]int64{},
		changed: make(chan struct{}),
	}
}

// TTL implements [Leases].
func (s *LocalLeases) TTL() time.Duration { return s.ttl }

// Changed implements [Leases].
func (s *LocalLeases) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *LocalLeases) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// until is when what begins now ends.
func (s *LocalLeases) until() time.Time {
	if s.ttl == 0 {
		return time.Time{}
	}
	return s.now().Add(s.ttl)
}

func (s *LocalLeases) ended(until time.Time) bool { return !until.IsZero() && !s.now().Before(until) }

// Join implements [Leases].
func (s *LocalLeases) Join(ctx context.Context, node string) (alive []string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.nodes, func(_ string, until time.Time) bool { return s.ended(until) })
	_, known := s.nodes[node]
	s.nodes[node] = s.until()
	if !known {
		s.change()
	}
	return slices.Sorted(maps.Keys(s.nodes)), nil
}

// Leave implements [Leases].
func (s *LocalLeases) Leave(ctx context.Context, node string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.nodes[node]; known {
		delete(s.nodes, node)
		s.change()
	}
	return nil
}

// Held implements [Leases]. They are in the order of the shards.
func (s *LocalLeases) Held(ctx context.Context, group string) ([]Lease, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Lease
	for at, l := range s.held {
		if at.group == group && !s.ended(l.Until) {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b Lease) int { return cmp.Compare(a.Shard, b.Shard) })
	return out, nil
}

// Acquire implements [Leases].
func (s *LocalLeases) Acquire(ctx context.Context, group string, shard int, node string) (l Lease, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return Lease{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := seat{group, shard}
	if l, taken := s.held[at]; taken && !s.ended(l.Until) {
		if l.Node != node {
			return Lease{}, false, nil
		}
		return l, true, nil
	}
	if s.epochs[at] == 0 || s.ttl > 0 {
		s.epochs[at]++
	}
	l = Lease{Group: group, Shard: shard, Node: node, Epoch: s.epochs[at], Until: s.until()}
	s.held[at] = l
	return l, true, nil
}

// Renew implements [Leases].
func (s *LocalLeases) Renew(ctx context.Context, leases ...Lease) ([]Lease, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Lease
	for _, l := range leases {
		if s.has(l) {
			l.Until = s.until()
			s.held[seat{l.Group, l.Shard}] = l
			out = append(out, l)
		}
	}
	return out, nil
}

// Release implements [Leases].
func (s *LocalLeases) Release(ctx context.Context, l Lease) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has(l) {
		delete(s.held, seat{l.Group, l.Shard})
		s.change()
	}
	return nil
}

// Fence returns [ErrFenced] unless the lease of a shard has that epoch and has not ended. Where none was ever given,
// epoch 1 passes: it is that of the only node, which has asked for no lease. An engine asks in the same step in which
// it writes.
func (s *LocalLeases) Fence(group string, shard int, epoch int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epochs[seat{group, shard}] == 0 && epoch == 1 {
		return nil
	}
	if l, taken := s.held[seat{group, shard}]; !taken || l.Epoch != epoch || s.ended(l.Until) {
		return ErrFenced
	}
	return nil
}

// has reports whether l's node still has it.
func (s *LocalLeases) has(l Lease) bool {
	now, taken := s.held[seat{l.Group, l.Shard}]
	return taken && now.Node == l.Node && now.Epoch == l.Epoch && !s.ended(now.Until)
}
