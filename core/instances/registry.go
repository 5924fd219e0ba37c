package instances

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evosink/evosink/core/event"
)

// A Registry holds all instances in memory, in front of a [Store] that several nodes may share. Reading never waits for
// the store; a write returns when the store has it for good and this registry shows it. What other nodes change comes
// by [Registry.Follow]. Any number of goroutines may use it at once.
type Registry struct {
	store  Store
	global []Digest
	now    func() time.Time

	seed    maphash.Seed
	writing [64]sync.Mutex // by name: one write of an instance at a time, so that only other nodes cause conflicts
	reading chan struct{}  // holds a token while a goroutine reads updates from the store

	order sync.Mutex // held while an update is applied and watchers are told of it
	// order guards the fields below.
	watchers map[int]func(Change)
	nextID   int

	mu sync.RWMutex // held for one look, or for the change of one instance
	// mu guards the fields below.
	byName  map[string]*Instance // what they point at is never changed
	byToken map[Digest]string
	moved   chan struct{} // closed when seen grows

	shown atomic.Int64 // revision of the newest update of which readers may have seen something
	seen  atomic.Int64 // revision of the newest update that was applied and told; grows with mu held

	misses misses
}

// maxConflicts bounds how often a write is tried again because other nodes were quicker.
const maxConflicts = 100

// Open returns a registry of what the store holds. global are the digests of the keys that open every instance: the
// global key and, while it is being replaced, the previous one. "" opens none.
func Open(ctx context.Context, store Store, global ...Digest) (*Registry, error) {
	all, revision, err := store.Instances(ctx)
	if err != nil {
		return nil, fmt.Errorf("read instances: %w", err)
	}
	r := &Registry{
		store: store, now: time.Now, seed: maphash.MakeSeed(), reading: make(chan struct{}, 1),
		watchers: map[int]func(Change){}, moved: make(chan struct{}), misses: misses{recent: map[uint64]*miss{}},
		byName: make(map[string]*Instance, len(all)), byToken: make(map[Digest]string, len(all)),
	}
	r.shown.Store(revision)
	r.seen.Store(revision)
	for _, d := range global {
		if d != "" {
			r.global = append(r.global, d)
		}
	}
	for i := range all {
		r.show(all[i].Name, &all[i])
	}
	return r, nil
}

// show makes readers see an instance as it is now, nil if it is gone, and returns how they saw it before.
func (r *Registry) show(name string, now *Instance) (before *Instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before = r.byName[name]
	if before != nil && r.byToken[before.Token] == name {
		delete(r.byToken, before.Token)
	}
	if now == nil {
		delete(r.byName, name)
		return before
	}
	r.byName[name] = now
	if now.Token != "" {
		r.byToken[now.Token] = name
	}
	return before
}

// Get returns the instance of that name.
func (r *Registry) Get(name string) (Instance, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if in, ok := r.byName[name]; ok {
		return *in, true
	}
	return Instance{}, false
}

// All returns every instance at one moment, sorted by name.
func (r *Registry) All() []Instance {
	r.mu.RLock()
	found := slices.AppendSeq(make([]*Instance, 0, len(r.byName)), maps.Values(r.byName))
	r.mu.RUnlock()
	slices.SortFunc(found, func(a, b *Instance) int { return strings.Compare(a.Name, b.Name) })
	all := make([]Instance, len(found))
	for i, in := range found {
		all[i] = *in
	}
	return all
}

// Authenticate tells what a key opens: everything if it is a global one, or the instance that has it as its token.
// Digests are compared, the global ones in constant time, so timing tells nothing about a key.
func (r *Registry) Authenticate(key string) (global bool, instance string, ok bool) {
	if key == "" {
		return false, "", false
	}
	d := Sum(key)
	if r.position(d) > 0 {
		return true, "", true
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	instance, ok = r.byToken[d]
	return false, instance, ok
}

// GlobalKey tells which of the global keys a key is: 1 is the first that was given to [Open], 0 none of them.
func (r *Registry) GlobalKey(key string) (position int) {
	if key == "" {
		return 0
	}
	return r.position(Sum(key))
}

func (r *Registry) position(d Digest) (found int) {
	for i, global := range r.global {
		if subtle.ConstantTimeCompare([]byte(d), []byte(global)) == 1 {
			found = i + 1
		}
	}
	return found
}

// Create stores a new instance and returns it. token may be empty. Errors: [ErrExists], also if another node creates it
// at the same moment, [ErrToken], and those of [ValidateNewName].
func (r *Registry) Create(ctx context.Context, in Instance, token string) (Instance, error) {
	return r.write(ctx, in.Name, func(_ Instance, exists bool) (Instance, error) {
		if exists {
			return Instance{}, ErrExists
		}
		return r.fresh(in, token)
	})
}

// fresh returns in as it is when it is stored for the first time.
func (r *Registry) fresh(in Instance, token string) (Instance, error) {
	if err := ValidateNewName(in.Name); err != nil {
		return Instance{}, err
	}
	digest, err := r.digest(token)
	if in.ID == "" {
		in.ID = event.NewID()
	}
	in.Token, in.CreatedAt = digest, r.stamp()
	return in, err
}

// Ensure returns the instance of in's name. If there is none it is created as in, without a token.
func (r *Registry) Ensure(ctx context.Context, in Instance) (Instance, error) {
	for {
		if found, ok := r.Get(in.Name); ok {
			return found, nil
		}
		created, err := r.Create(ctx, in, "")
		if !errors.Is(err, ErrExists) {
			return created, err
		}
		// It was created meanwhile, and this registry shows it, unless it was deleted meanwhile, too.
	}
}

// Adopt is [Registry.Create], but takes over an instance of that name that an event made and that has no token yet: it
// gets the token, the integration and, sink by sink, the settings of in, and keeps its id and what else it has. Of
// several calls at once, on whichever nodes, one wins; the others return [ErrExists].
func (r *Registry) Adopt(ctx context.Context, in Instance, token string) (Instance, error) {
	return r.write(ctx, in.Name, func(old Instance, exists bool) (Instance, error) {
		switch {
		case !exists:
			return r.fresh(in, token)
		case !old.ByEvent || old.Token != "":
			return Instance{}, ErrExists
		}
		if err := ValidateNewName(in.Name); err != nil {
			return Instance{}, err
		}
		digest, err := r.digest(token)
		old.Token, old.Integration, old.ByEvent = digest, in.Integration, false
		settings := make(map[string]Settings, len(old.Settings)+len(in.Settings))
		maps.Copy(settings, old.Settings)
		maps.Copy(settings, in.Settings)
		old.Settings = settings
		return old, err
	})
}

// Delete removes an instance with all it has set. One of that name that is created meanwhile stays. Error:
// [ErrUnknown].
func (r *Registry) Delete(ctx context.Context, name string) error {
	defer r.lock(name)()
	id := ""
	for range maxConflicts {
		if err := r.Refresh(ctx); err != nil {
			return fmt.Errorf("delete instance: %w", err)
		}
		in, ok := r.Get(name)
		if !ok || id != "" && in.ID != id {
			return ErrUnknown
		}
		id = in.ID
		revision, err := r.store.DeleteInstance(ctx, name, in.Version)
		if err == nil {
			return r.readBack(ctx, revision)
		}
		if !errors.Is(err, ErrConflict) {
			return fmt.Errorf("delete instance: %w", err)
		}
	}
	return ErrConflict
}

// SetToken replaces the instance's token; the former one opens nothing from then on. Errors: [ErrUnknown], [ErrToken].
func (r *Registry) SetToken(ctx context.Context, name, token string) (Instance, error) {
	return r.update(ctx, name, func(in *Instance) (err error) {
		in.Token, err = r.digest(token)
		in.ByEvent = false
		return err
	})
}

// Set stores an instance's settings of a sink. Error: [ErrUnknown].
func (r *Registry) Set(ctx context.Context, name, sink string, value json.RawMessage) (Settings, error) {
	var s Settings
	_, err := r.update(ctx, name, func(in *Instance) error {
		var ok bool
		if s, ok = in.Settings[sink]; !ok {
			s = Settings{ID: event.NewID(), CreatedAt: r.stamp()}
		}
		s.Value, s.UpdatedAt = value, r.stamp()
		if in.Settings = maps.Clone(in.Settings); in.Settings == nil {
			in.Settings = map[string]Settings{}
		}
		in.Settings[sink] = s
		return nil
	})
	if err != nil {
		return Settings{}, err
	}
	return s, nil
}

// update changes an existing instance. One that is deleted, and perhaps created anew, meanwhile is another one.
func (r *Registry) update(ctx context.Context, name string, change func(*Instance) error) (Instance, error) {
	id := ""
	return r.write(ctx, name, func(in Instance, exists bool) (Instance, error) {
		if !exists || id != "" && in.ID != id {
			return Instance{}, ErrUnknown
		}
		id = in.ID
		err := change(&in)
		return in, err
	})
}

// write stores what change makes of an instance as the store has it now, and returns it when this registry shows it.
// When another node changes the instance meanwhile, change is asked again about what is there then.
func (r *Registry) write(
	ctx context.Context, name string, change func(now Instance, exists bool) (Instance, error),
) (Instance, error) {
	defer r.lock(name)()
	for range maxConflicts {
		if err := r.Refresh(ctx); err != nil {
			return Instance{}, fmt.Errorf("store instance: %w", err)
		}
		now, exists := r.Get(name)
		in, err := change(now, exists)
		if err != nil {
			return Instance{}, err
		}
		in.Version, in.UpdatedAt = now.Version, r.stamp()
		stored, err := r.store.PutInstance(ctx, in)
		switch {
		case err == nil:
			return stored, r.readBack(ctx, stored.Version)
		case errors.Is(err, ErrToken):
			return Instance{}, ErrToken
		case !errors.Is(err, ErrConflict):
			return Instance{}, fmt.Errorf("store instance: %w", err)
		}
	}
	return Instance{}, ErrConflict
}

// lock takes the turn of writes of an instance. It returns what ends it.
func (r *Registry) lock(name string) (unlock func()) {
	m := &r.writing[maphash.String(r.seed, name)%uint64(len(r.writing))]
	m.Lock()
	return m.Unlock
}

func (r *Registry) digest(token string) (Digest, error) {
	if token == "" {
		return "", nil
	}
	d := Sum(token)
	if r.position(d) > 0 {
		return "", ErrToken
	}
	return d, nil
}

func (r *Registry) stamp() time.Time { return r.now().UTC().Truncate(time.Millisecond) }
