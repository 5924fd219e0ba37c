package instances

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// What looking for something in vain may cost the store, see [Registry.Recheck].
const (
	missPause   = time.Second     // between two looks at the store for one client, and for one key or name
	missLimit   = 128             // looks at the store within missPause, for all clients
	missTimeout = 2 * time.Second // of one look
)

// misses remembers looks at the store of the last second.
type misses struct {
	mu sync.Mutex
	// mu guards the field below.
	recent map[uint64]*miss // by hash of the client, and of what it looked for; two entries for each look
}

// A miss is one look at the store.
type miss struct {
	began time.Time
	ended chan struct{} // closed when it is over
}

// Recheck is for a client that asks for a key or an instance, sought, that this registry does not show: another node
// may have made it a moment ago. It returns when the registry shows every change that had ended when it was called;
// look again then. So that wrong keys cost the store little, that is done once within a second for one client and for
// one thing sought, for at most 128 of them in all, and takes 2 s at most; beyond that Recheck returns at once, or
// when a look for the same client or thing that is under way has ended.
func (r *Registry) Recheck(ctx context.Context, client, sought string) {
	now := time.Now()
	byClient, bySought := maphash.String(r.seed, "client "+client), maphash.String(r.seed, "sought "+sought)
	look := &miss{began: now, ended: make(chan struct{})}

	r.misses.mu.Lock()
	for hash, m := range r.misses.recent {
		if now.Sub(m.began) >= missPause {
			delete(r.misses.recent, hash)
		}
	}
	former := r.misses.recent[bySought]
	if former == nil {
		former = r.misses.recent[byClient]
	}
	full := len(r.misses.recent) >= 2*missLimit
	if former == nil && !full {
		r.misses.recent[byClient], r.misses.recent[bySought] = look, look
	}
	r.misses.mu.Unlock()

	switch {
	case former != nil:
		select {
		case <-former.ended:
		case <-ctx.Done():
		}
	case !full:
		defer close(look.ended)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), missTimeout) // others may wait for it
		defer cancel()
		_ = r.Refresh(ctx) // what was sought stays unknown; the error of a store is told by [Registry.Follow]
	}
}
