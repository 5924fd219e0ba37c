package memory

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/evosink/evosink/core/instances"
)

// store implements [instances.Store] for [Engine].
type store struct {
	newest func() int64 // position of the log's last entry

	guard sync.Mutex
	// guard guards the fields below.
	records map[string]instances.Instance
	born    map[string]int64 // newest when the instance was created or deleted
	values  map[string][]byte
}

func newStore(newest func() int64) store {
	return store{newest: newest, records: map[string]instances.Instance{}, born: map[string]int64{}, values: map[string][]byte{}}
}

// Instances implements [instances.Store].
func (s *store) Instances(context.Context) ([]instances.Instance, error) {
	s.guard.Lock()
	defer s.guard.Unlock()
	return slices.Collect(maps.Values(s.records)), nil
}

// PutInstance implements [instances.Store].
func (s *store) PutInstance(_ context.Context, in instances.Instance) (version int64, err error) {
	s.guard.Lock()
	defer s.guard.Unlock()
	if s.records[in.Name].Version != in.Version {
		return 0, instances.ErrConflict
	}
	if in.Version == 0 {
		s.born[in.Name] = s.newest()
	}
	in.Version++
	in.Settings = maps.Clone(in.Settings)
	s.records[in.Name] = in
	return in.Version, nil
}

// DeleteInstance implements [instances.Store].
func (s *store) DeleteInstance(_ context.Context, name string) error {
	s.guard.Lock()
	defer s.guard.Unlock()
	delete(s.records, name)
	s.born[name] = s.newest()
	return nil
}

// bornAt returns the position behind which all entries of an instance of that name are this one's. It is 0 if there has been none.
func (s *store) bornAt(name string) int64 {
	s.guard.Lock()
	defer s.guard.Unlock()
	return s.born[name]
}

// Value implements [instances.Store].
func (s *store) Value(_ context.Context, key string) ([]byte, error) {
	s.guard.Lock()
	defer s.guard.Unlock()
	return bytes.Clone(s.values[key]), nil
}

// PutValue implements [instances.Store].
func (s *store) PutValue(_ context.Context, key string, value []byte) error {
	s.guard.Lock()
	defer s.guard.Unlock()
	s.values[key] = append([]byte{}, value...) // an empty value is stored too, and is not nil
	return nil
}
