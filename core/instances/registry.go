package instances

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evosink/evosink/core/event"
)

// A Registry holds all instances in memory, in front of a [Store]. Reading never waits for
// the store; writing returns when the store has it for good. Any number of goroutines may use it at once.
type Registry struct {
	store  Store
	global []Digest
	now    func() time.Time

	state atomic.Pointer[state]

	mu sync.Mutex // held while the store is written, so that changes are seen in the order in which they were stored
	// mu guards the fields below.
	watchers map[int]func(Change)
	nextID   int
}

// state is immutable.
type state struct {
	byName  map[string]Instance
	byToken map[Digest]string
}

// Open returns a registry of what the store holds. global are the digests of the keys that open every instance: the
// global key and, while it is being replaced, the previous one. "" opens none.
func Open(ctx context.Context, store Store, global ...Digest) (*Registry, error) {
	r := &Registry{store: store, now: time.Now, watchers: map[int]func(Change){}}
	for _, d := range global {
		if d != "" {
			r.global = append(r.global, d)
		}
	}
	all, err := store.Instances(ctx)
	if err != nil {
		return nil, fmt.Errorf("read instances: %w", err)
	}
	s := &state{byName: make(map[string]Instance, len(all)), byToken: make(map[Digest]string, len(all))}
	for _, in := range all {
		s.put(in)
	}
	r.state.Store(s)
	return r, nil
}

func (s *state) put(in Instance) {
	if old, ok := s.byName[in.Name]; ok && old.Token != "" {
		delete(s.byToken, old.Token)
	}
	s.byName[in.Name] = in
	if in.Token != "" {
		s.byToken[in.Token] = in.Name
	}
}

func (s *state) clone() *state {
	return &state{byName: maps.Clone(s.byName), byToken: maps.Clone(s.byToken)}
}

// Get returns the instance of that name.
func (r *Registry) Get(name string) (Instance, bool) {
	in, ok := r.state.Load().byName[name]
	return in, ok
}

// All returns every instance, sorted by name.
func (r *Registry) All() []Instance {
	return slices.SortedFunc(maps.Values(r.state.Load().byName), func(a, b Instance) int {
		return strings.Compare(a.Name, b.Name)
	})
}

// Authenticate tells whose key it is: global, or the name of the instance whose token it is.
// Digests are compared, the global ones in constant time, so timing tells nothing about a key.
func (r *Registry) Authenticate(key string) (global bool, instance string, ok bool) {
	if key == "" {
		return false, "", false
	}
	d := Sum(key)
	if r.position(d) > 0 {
		return true, "", true
	}
	name, ok := r.state.Load().byToken[d]
	return false, name, ok
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

// Create stores a new instance and returns it. token may be empty. Errors: [ErrExists], [ErrToken], an invalid name.
func (r *Registry) Create(ctx context.Context, in Instance, token string) (Instance, error) {
	if err := event.ValidateInstance(in.Name); err != nil {
		return Instance{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.Get(in.Name); ok {
		return Instance{}, ErrExists
	}
	return r.create(ctx, in, token)
}

// create is Create for a name that is free. Held: mu.
func (r *Registry) create(ctx context.Context, in Instance, token string) (Instance, error) {
	digest, err := r.digest(token, in.Name)
	if err != nil {
		return Instance{}, err
	}
	if in.ID == "" {
		in.ID = event.NewID()
	}
	in.Token, in.CreatedAt, in.Version = digest, r.stamp(), 0
	return r.save(ctx, in, Change{Kind: Created})
}

// Adopt is [Registry.Create], but takes over an instance of that name that an event made and that has no token yet: it gets the
// token, the integration and, sink by sink, the settings of in, and keeps its id and what else it has. Of several calls at
// once one wins; the others return [ErrExists].
func (r *Registry) Adopt(ctx context.Context, in Instance, token string) (Instance, error) {
	if err := event.ValidateInstance(in.Name); err != nil {
		return Instance{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old, ok := r.Get(in.Name)
	if !ok {
		return r.create(ctx, in, token)
	}
	if !old.ByEvent || old.Token != "" {
		return Instance{}, ErrExists
	}
	digest, err := r.digest(token, in.Name)
	if err != nil {
		return Instance{}, err
	}
	old.Token, old.Integration, old.ByEvent = digest, in.Integration, false
	settings, changes := make(map[string]Settings), []Change{{Kind: NewToken}}
	maps.Copy(settings, old.Settings)
	for sink, set := range in.Settings {
		settings[sink] = set
		changes = append(changes, Change{Kind: NewSettings, Sink: sink})
	}
	old.Settings = settings
	return r.save(ctx, old, changes...)
}

// Delete removes an instance with all it has set. Error: [ErrUnknown].
func (r *Registry) Delete(ctx context.Context, name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	in, ok := r.Get(name)
	if !ok {
		return ErrUnknown
	}
	if err := r.store.DeleteInstance(ctx, name); err != nil {
		return fmt.Errorf("delete instance: %w", err)
	}
	next := r.state.Load().clone()
	delete(next.byName, name)
	delete(next.byToken, in.Token)
	r.publish(next, Change{Kind: Deleted, Instance: name, ID: in.ID})
	return nil
}

// SetToken replaces the instance's token; the former one opens nothing from then on. Errors: [ErrUnknown], [ErrToken].
func (r *Registry) SetToken(ctx context.Context, name, token string) (Instance, error) {
	return r.update(ctx, name, func(in *Instance) (err error) {
		in.Token, err = r.digest(token, name)
		in.ByEvent = false
		return err
	}, Change{Kind: NewToken})
}

// Set stores an instance's settings of a sink. Error: [ErrUnknown].
func (r *Registry) Set(ctx context.Context, name, sink string, value json.RawMessage) (Settings, error) {
	in, err := r.update(ctx, name, func(in *Instance) error {
		s, ok := in.Settings[sink]
		if !ok {
			s = Settings{ID: event.NewID(), CreatedAt: r.stamp()}
		}
		s.Value, s.UpdatedAt = value, r.stamp()
		if in.Settings = maps.Clone(in.Settings); in.Settings == nil {
			in.Settings = map[string]Settings{}
		}
		in.Settings[sink] = s
		return nil
	}, Change{Kind: NewSettings, Sink: sink})
	return in.Settings[sink], err
}

func (r *Registry) update(ctx context.Context, name string, change func(*Instance) error, changes ...Change) (Instance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	in, ok := r.Get(name)
	if !ok {
		return Instance{}, ErrUnknown
	}
	if err := change(&in); err != nil {
		return Instance{}, err
	}
	return r.save(ctx, in, changes...)
}

func (r *Registry) save(ctx context.Context, in Instance, changes ...Change) (Instance, error) {
	in.UpdatedAt = r.stamp()
	version, err := r.store.PutInstance(ctx, in)
	if err != nil {
		return Instance{}, fmt.Errorf("store instance: %w", err)
	}
	in.Version = version
	next := r.state.Load().clone()
	next.put(in)
	for i := range changes {
		changes[i].Instance = in.Name
	}
	r.publish(next, changes...)
	return in, nil
}

func (r *Registry) digest(token, owner string) (Digest, error) {
	if token == "" {
		return "", nil
	}
	d := Sum(token)
	if other, taken := r.state.Load().byToken[d]; taken && other != owner || r.position(d) > 0 {
		return "", ErrToken
	}
	return d, nil
}

func (r *Registry) stamp() time.Time { return r.now().UTC().Truncate(time.Millisecond) }
