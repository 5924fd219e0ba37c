package instances

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Change is what [Registry.Watch] tells of.
type Change struct {
	Kind     ChangeKind
	Instance string
	Sink     string // with NewSettings
	ID       string // with Deleted: of the record that is gone
}

// ChangeKind tells what changed.
type ChangeKind uint8

// The kinds of change.
const (
	Created ChangeKind = iota + 1
	Deleted
	NewToken
	NewSettings
)

// Watch calls f for every change from now on, whichever node made it, after it was stored and can be read, one at a
// time and in the store's order, until stop is called. What other nodes change is seen while [Registry.Follow] runs,
// and by a write or [Registry.Refresh] of this registry. Of changes that the store has forgotten before they were read,
// f is told the sum. f must return promptly and must not change the registry. stop waits for a running f.
func (r *Registry) Watch(f func(Change)) (stop func()) {
	r.order.Lock()
	defer r.order.Unlock()
	id := r.nextID
	r.nextID++
	r.watchers[id] = f
	return func() {
		r.order.Lock()
		defer r.order.Unlock()
		delete(r.watchers, id)
	}
}

// Follow takes over what other nodes change, until ctx ends, and then returns nil. It returns the store's error when
// that cannot be read, and may be called again. Several calls at once do no harm.
func (r *Registry) Follow(ctx context.Context) error {
	for {
		select {
		case r.reading <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		err := r.read(ctx)
		<-r.reading
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("follow the changes of instances: %w", err)
		}
	}
}

// Refresh returns when the registry shows every change that had ended, on any node, when it was called.
func (r *Registry) Refresh(ctx context.Context) error {
	revision, err := r.store.InstanceRevision(ctx)
	if err != nil {
		return err
	}
	return r.reach(ctx, revision)
}

// Revision returns the revision of the newest change of which this registry has shown something so far. Another node
// that calls [Registry.CatchUp] with it shows that change, too, and all before it.
func (r *Registry) Revision() int64 { return r.shown.Load() }

// CatchUp returns when the registry shows every change up to a revision that is another node's [Registry.Revision]. It
// costs a comparison when that is so already, else a look at the store. A revision that the store does not have,
// because it was restored from a backup, is as good as the newest one.
func (r *Registry) CatchUp(ctx context.Context, revision int64) error {
	if revision <= r.seen.Load() {
		return nil
	}
	return r.Refresh(ctx) // and not reach(revision), which the store may never come to
}

// readBackTimeout bounds how long a write that is stored waits until it can be read.
const readBackTimeout = 10 * time.Second

// readBack is reach for a change that this registry has stored: the end of ctx leaves no doubt about it.
func (r *Registry) readBack(ctx context.Context, revision int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readBackTimeout)
	defer cancel()
	if err := r.reach(ctx, revision); err != nil {
		return fmt.Errorf("the change is stored: %w", err)
	}
	return nil
}

// reach returns when the update of that revision was applied: by the goroutine that reads updates already, or by this
// one.
func (r *Registry) reach(ctx context.Context, revision int64) error {
	for {
		seen, moved := r.progress()
		if seen >= revision {
			return nil
		}
		var err error
		select {
		case <-moved:
		case r.reading <- struct{}{}:
			if seen, _ = r.progress(); seen < revision {
				err = r.read(ctx)
			}
			<-r.reading
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("the store's newest changes cannot be read: %w", err)
		}
	}
}

func (r *Registry) progress() (seen int64, moved <-chan struct{}) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.seen.Load(), r.moved
}

// read waits for the next updates and applies them. Held: reading.
func (r *Registry) read(ctx context.Context) error {
	seen, _ := r.progress()
	updates, err := r.store.InstanceUpdates(ctx, seen)
	if errors.Is(err, ErrForgotten) {
		return r.reload(ctx)
	}
	if err != nil {
		return err
	}
	r.order.Lock()
	defer r.order.Unlock()
	for _, u := range updates {
		r.shown.Store(u.Revision)
		r.apply(u.Name, u.Instance)
		r.advance(u.Revision)
	}
	return nil
}

// reload makes up for updates that the store has forgotten. Held: reading.
func (r *Registry) reload(ctx context.Context) error {
	all, revision, err := r.store.Instances(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b Instance) int { return cmp.Compare(a.Version, b.Version) })
	there := make(map[string]bool, len(all))
	for _, in := range all {
		there[in.Name] = true
	}
	r.order.Lock()
	defer r.order.Unlock()
	r.shown.Store(revision)
	for _, in := range r.All() {
		if !there[in.Name] {
			r.apply(in.Name, nil)
		}
	}
	for i := range all {
		if known, ok := r.Get(all[i].Name); !ok || known.ID != all[i].ID || known.Version != all[i].Version {
			r.apply(all[i].Name, &all[i])
		}
	}
	r.advance(revision)
	return nil
}

// apply shows an instance as it is now, nil if it is gone, and tells the watchers what that changes. Held: order.
func (r *Registry) apply(name string, now *Instance) {
	if old, ok := r.Get(name); ok && now != nil && old.ID != now.ID {
		r.apply(name, nil) // another one of that name, see reload
	}
	before := r.show(name, now)
	switch {
	case before == nil && now == nil:
	case now == nil:
		r.tell(Change{Kind: Deleted, Instance: name, ID: before.ID})
	case before == nil:
		r.tell(Change{Kind: Created, Instance: name})
	default:
		if before.Token != now.Token {
			r.tell(Change{Kind: NewToken, Instance: name})
		}
		sinks := maps.Clone(before.Settings)
		if sinks == nil {
			sinks = map[string]Settings{}
		}
		maps.Copy(sinks, now.Settings)
		for _, sink := range slices.Sorted(maps.Keys(sinks)) {
			a, b := before.Settings[sink], now.Settings[sink]
			if a.ID != b.ID || !a.UpdatedAt.Equal(b.UpdatedAt) || !bytes.Equal(a.Value, b.Value) {
				r.tell(Change{Kind: NewSettings, Instance: name, Sink: sink})
			}
		}
	}
}

func (r *Registry) tell(c Change) {
	for _, f := range r.watchers {
		f(c)
	}
}

func (r *Registry) advance(revision int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen.Store(revision)
	close(r.moved)
	r.moved = make(chan struct{})
}
