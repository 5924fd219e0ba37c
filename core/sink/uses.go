package sink

import (
	"context"
	"errors"
	"sync"
)

var errClosed = errors.New("the sink is closed")

// Uses are the deliveries that are under way in a sink without a connection to keep: Close waits for them. (A sink
// that has one stands on package link, which counts for itself.) Its methods may be called by any number of goroutines
// at once.
type Uses struct {
	life context.Context // ends with the sink
	end  context.CancelFunc

	running sync.WaitGroup
	mu      sync.Mutex
	// mu guards the field below.
	closed bool
}

// NewUses returns an empty set of uses.
func NewUses() *Uses {
	u := &Uses{}
	u.life, u.end = context.WithCancel(context.Background())
	return u
}

// Begin begins a use. The context it returns ends with ctx and when Close waits no longer; end must be called. After
// Close it returns an error marked [Unavailable].
func (u *Uses) Begin(ctx context.Context) (_ context.Context, end func(), _ error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil, nil, Unavailable(errClosed)
	}
	u.running.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(u.life, cancel)
	return ctx, func() {
		stop()
		cancel()
		u.running.Done()
	}, nil
}

// Close waits for the end of all uses until ctx ends, then ends them. It may be called again.
func (u *Uses) Close(ctx context.Context) {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		defer close(idle)
		u.running.Wait()
	}()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	u.end()
	<-idle
}
