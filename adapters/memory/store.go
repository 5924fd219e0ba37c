package memory

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/instances"
)

// maxDeleted is how many deleted instances are remembered, see store.bornAt.
const maxDeleted = 10_000

// store implements [instances.Store] for [Engine].
type store struct {
	log  *tail.Log
	feed *instances.Feed

	guard sync.Mutex
	// guard guards the fields below.
	revision int64
	records  map[string]instances.Instance
	tokens   map[instances.Digest]string // the instance that has it
	values   map[string][]byte

	deleted   map[string]int64 // position of the log's newest entry when the instance was deleted
	deletions []deletion       // oldest first; one with a position that is not in deleted is void
	forgotten int64            // position of the newest deletion that is not remembered
}

type deletion struct {
	name     string
	position int64
}

func newStore(log *tail.Log) store {
	return store{
		log: log, feed: instances.NewFeed(0), records: map[string]instances.Instance{},
		tokens: map[instances.Digest]string{}, values: map[string][]byte{}, deleted: map[string]int64{},
	}
}

// Instances implements [instances.Store].
func (s *store) Instances(context.Context) (all []instances.Instance, revision int64, err error) {
	s.guard.Lock()
	defer s.guard.Unlock()
	return slices.Collect(maps.Values(s.records)), s.revision, nil
}

// InstanceRevision implements [instances.Store].
func (s *store) InstanceRevision(context.Context) (int64, error) { return s.feed.Newest(), nil }

// InstanceUpdates implements [instances.Store].
func (s *store) InstanceUpdates(ctx context.Context, after int64) ([]instances.Update, error) {
	return s.feed.After(ctx, after)
}

// PutInstance implements [instances.Store].
func (s *store) PutInstance(_ context.Context, in instances.Instance) (stored instances.Instance, err error) {
	s.guard.Lock()
	defer s.guard.Unlock()
	old := s.records[in.Name]
	if old.Version != in.Version {
		return instances.Instance{}, instances.ErrConflict
	}
	if other, taken := s.tokens[in.Token]; taken && other != in.Name {
		return instances.Instance{}, instances.ErrToken
	}
	if in.Birth = old.Birth; old.Version == 0 {
		in.Birth = s.log.Newest()
		delete(s.deleted, in.Name)
	}
	delete(s.tokens, old.Token)
	if in.Token != "" {
		s.tokens[in.Token] = in.Name
	}
	s.revision++
	in.Version = s.revision
	in.Settings = maps.Clone(in.Settings)
	s.records[in.Name] = in
	s.feed.Add(instances.Update{Revision: s.revision, Name: in.Name, Instance: &in})
	return in, nil
}

// DeleteInstance implements [instances.Store].
func (s *store) DeleteInstance(_ context.Context, name string, version int64) (revision int64, err error) {
	s.guard.Lock()
	defer s.guard.Unlock()
	old, ok := s.records[name]
	if !ok || old.Version != version {
		return 0, instances.ErrConflict
	}
	delete(s.records, name)
	delete(s.tokens, old.Token)
	s.remember(deletion{name, s.log.Newest()})
	s.revision++
	s.feed.Add(instances.Update{Revision: s.revision, Name: name})
	return s.revision, nil
}

// remember keeps a deletion while the log has what came before it, and the newest of them only. Held: guard.
func (s *store) remember(d deletion) {
	s.deleted[d.name] = d.position
	s.deletions = append(s.deletions, d)
	floor := s.log.Floor()
	for len(s.deletions) > maxDeleted || s.deletions[0].position <= floor {
		oldest := s.deletions[0]
		if position, ok := s.deleted[oldest.name]; ok && position == oldest.position {
			delete(s.deleted, oldest.name)
			s.forgotten = max(s.forgotten, oldest.position)
		}
		s.deletions[0] = deletion{}
		if s.deletions = s.deletions[1:]; len(s.deletions) == 0 {
			return
		}
	}
}

// bornAt returns the position behind which all entries of an instance of that name are this one's. It is 0 if there has
// been none. For a name without an instance that is behind the last deletion of one, or behind the last that is not
// remembered: then too little is given rather than the events of another instance.
func (s *store) bornAt(name string) int64 {
	s.guard.Lock()
	defer s.guard.Unlock()
	if in, ok := s.records[name]; ok {
		return in.Birth
	}
	if position, ok := s.deleted[name]; ok {
		return position
	}
	return s.forgotten
}

// Value implements [instances.Store].
func (s *store) Value(_ context.Context, key string) ([]byte, error) {
	s.guard.Lock()
	defer s.guard.Unlock()
	return bytes.Clone(s.values[key]), nil
}

// AddValue implements [instances.Store].
func (s *store) AddValue(_ context.Context, key string, value []byte) (stored []byte, err error) {
	s.guard.Lock()
	defer s.guard.Unlock()
	if _, ok := s.values[key]; !ok {
		s.values[key] = append([]byte{}, value...) // an empty value is stored too, and is not nil
	}
	return bytes.Clone(s.values[key]), nil
}
