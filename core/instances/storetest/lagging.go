package storetest

import (
	"context"
	"sync"

	"github.com/evosink/evosink/core/instances"
)

// A Lagging is the store of a node that other nodes' changes reach late: from a call of Lag on, not before the node
// asks how far the store is. With it a test makes sure that a node asks in time.
type Lagging struct {
	instances.Store

	mu sync.Mutex
	// mu guards the fields below.
	lags   bool
	arrive chan struct{} // closed when what was changed until now may arrive
}

// NewLagging returns a view of a store that does not lag yet.
func NewLagging(s instances.Store) *Lagging { return &Lagging{Store: s, arrive: make(chan struct{})} }

// Lag holds back what is changed from now on, until the next InstanceRevision.
func (s *Lagging) Lag() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lags = true
}

// InstanceRevision implements [instances.Store].
func (s *Lagging) InstanceRevision(ctx context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lags = false
	close(s.arrive)
	s.arrive = make(chan struct{})
	return s.Store.InstanceRevision(ctx)
}

// InstanceUpdates implements [instances.Store].
func (s *Lagging) InstanceUpdates(ctx context.Context, after int64) ([]instances.Update, error) {
	page, err := s.Store.InstanceUpdates(ctx, after)
	s.mu.Lock()
	lags, arrive := s.lags, s.arrive
	s.mu.Unlock()
	if !lags {
		return page, err
	}
	select {
	case <-arrive:
		return page, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
