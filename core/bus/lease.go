package bus

import (
	"context"
	"errors"
	"time"
)

// A Lease is a node's right to work on a shard for a group: to read it, and to hold what waits for its instances. At
// most one node has it at a time.
type Lease struct {
	Group string
	Shard int
	Node  string // id of the node that has it
	// Epoch grows with every change of hands, and is at least 1. What its holder writes carries it, and the engine refuses
	// a former one with [ErrFenced], so that a node that was frozen and goes on does no harm.
	Epoch int64
	// Until is when the lease ends unless it is renewed, by this process's monotonic clock; the zero Time if it does not
	// end by itself. Its holder begins nothing in the last part of it.
	Until time.Time
}

// ErrFenced says that a write carried the epoch of a lease that another node, or no node, has now. The shard's former
// holder lets go of it; nothing was written.
var ErrFenced = errors.New("the shard has another owner")

// Leases is the port that shares shards among nodes. Times are the engine's: no node's clock counts. All methods may be
// called by any number of goroutines at once. An engine of one node gives every lease at once, with epoch 1 and no end.
type Leases interface {
	// Join says that the node is alive, until the lease time has passed or Leave is called, and returns the ids of all
	// nodes that are, in order. It is called again before a third of the lease time has passed.
	Join(ctx context.Context, node string) (alive []string, err error)
	// Leave says that the node is gone. Its leases should have been released before.
	Leave(ctx context.Context, node string) error
	// Held returns the leases of a group that have not ended, of all nodes.
	Held(ctx context.Context, group string) ([]Lease, error)
	// Acquire takes the lease of a shard for a node if no other has it; ok is false if one does. A lease that its node has
	// already is returned with the epoch that it has.
	Acquire(ctx context.Context, group string, shard int, node string) (l Lease, ok bool, err error)
	// Renew extends leases by the lease time and returns those that it could: the others have ended.
	Renew(ctx context.Context, leases ...Lease) ([]Lease, error)
	// Release gives a lease back, so that another node need not wait for its end, and wakes those that wait on
	// Changed. One that has ended is no error.
	Release(ctx context.Context, l Lease) error
	// Changed returns what is closed when a lease was released or a node has joined or left, as far as the engine can
	// tell; nodes look by themselves now and then too.
	Changed() <-chan struct{}
	// TTL is the lease time: how long a lease lasts that is not renewed; 0 if it does not end by itself.
	TTL() time.Duration
}
