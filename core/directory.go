package core

import (
	"context"
	"encoding/json"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// directory shows one sink the registry.
type directory struct {
	registry *instances.Registry
	sink     string
}

func (d *directory) Lookup(instance string) (json.RawMessage, bool) {
	in, ok := d.registry.Get(instance)
	return in.Settings[d.sink].Value, ok
}

func (d *directory) Owns(e *event.Event) bool {
	in, _ := d.registry.Get(e.Instance)
	return owns(in.ID, e)
}

func (d *directory) Authenticate(key string) (sink.Principal, bool) {
	global, instance, ok := d.registry.Authenticate(key)
	return sink.Principal{Global: global, Instance: instance}, ok
}

func (d *directory) Recheck(ctx context.Context, client, sought string) {
	d.registry.Recheck(ctx, client, sought)
}

var changes = map[instances.ChangeKind]sink.ChangeKind{
	instances.Created:     sink.Created,
	instances.Deleted:     sink.Deleted,
	instances.NewToken:    sink.NewToken,
	instances.NewSettings: sink.NewSetting,
}

func (d *directory) Watch(f func(sink.Change)) (stop func()) {
	return d.registry.Watch(func(c instances.Change) {
		if c.Kind != instances.NewSettings || c.Sink == d.sink {
			f(sink.Change{Kind: changes[c.Kind], Instance: c.Instance, ID: c.ID})
		}
	})
}
