package sink

import (
	"context"
	"errors"
	"sync"

	"github.com/evosink/evosink/core/uses"
)

var errClosed = errors.New("the sink is closed")

// Uses are the deliveries that are under way in a sink without a connection to keep: Close waits for them. (A sink
// that has one stands on package link, which counts for itself.) Its methods may be called by any number of goroutines
// at once.
type Uses struct {
	life    context.Context // ends with the sink
	end     context.CancelFunc
	running uses.Counter

	mu sync.Mutex
	// mu guards the field below.
	unlink func() bool // from EndWith's ctx; nil without
}

// NewUses returns an empty set of uses.
func NewUses() *Uses {
	u := &Uses{}
	u.life, u.end = context.WithCancel(context.Background())
	return u
}

// EndWith ends all uses when ctx ends, for a sink's Start.
func (u *Uses) EndWith(ctx context.Context) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.unlink = context.AfterFunc(ctx, u.end)
}

// Begin begins a use. The context it returns ends with ctx and when Close waits no longer; end must be called. After
// Close it returns an error marked [Unavailable].
func (u *Uses) Begin(ctx context.Context) (_ context.Context, end func(), _ error) {
	if !u.running.Begin() {
		return nil, nil, Unavailable(errClosed)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(u.life, cancel)
	return ctx, func() {
		stop()
		cancel()
		u.running.End()
	}, nil
}

// Close waits for the end of all uses until ctx ends, then ends them. It may be called again.
func (u *Uses) Close(ctx context.Context) {
	u.mu.Lock()
	if u.unlink != nil {
		u.unlink()
	}
	u.mu.Unlock()
	u.running.Close()
	_ = u.running.Wait(ctx) // what is under way then is ended, see Begin
	u.end()
	_ = u.running.Wait(context.Background())
}
