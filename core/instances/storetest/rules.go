package storetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evosink/evosink/core/instances"
)

var rules = []rule{
	{
		"an instance comes back as it was stored",
		"the registry answers from what it read at the start; settings are JSON that a sink has normalised, kept byte for byte in meaning",
		func(t *trial) {
			if got := t.all(); len(got) != 0 {
				t.failf("an empty store holds %v", got)
			}
			for _, in := range []instances.Instance{full("loja ação 日本"), {Name: "bare"}} {
				in.Version = t.put(in)
				if got := t.all()[in.Name]; asJSON(got) != asJSON(in) || got.Version != in.Version {
					t.failf("got  %s, version %d\nwant %s, version %d", asJSON(got), got.Version, asJSON(in), in.Version)
				}
			}
		},
	},
	{
		"names that differ in case are two instances",
		"an instance opens its own namespace only, and namespaces are case sensitive",
		func(t *trial) {
			for _, name := range []string{"a", "A", "á", "a "} {
				t.put(instances.Instance{Name: name, ID: name})
			}
			got := t.all()
			for _, name := range []string{"a", "A", "á", "a "} {
				if got[name].ID != name {
					t.failf("%q holds %+v", name, got[name])
				}
			}
		},
	},
	{
		"a record is replaced only by who knows its version",
		"two nodes that change one instance at the same time must not undo each other's change unseen",
		func(t *trial) {
			first := t.put(instances.Instance{Name: "a", Integration: "one"})
			if first == 0 {
				t.failf("the first version is 0, which means that nothing is stored")
			}
			second := t.put(instances.Instance{Name: "a", Integration: "two", Version: first})
			if second == first {
				t.failf("the version is still %d after a change", second)
			}
			for _, version := range []int64{0, first, second + 1} {
				t.conflict(instances.Instance{Name: "a", Integration: "three", Version: version})
			}
			t.conflict(instances.Instance{Name: "b", Version: 1})
			got := t.all()
			if len(got) != 1 || got["a"].Integration != "two" || got["a"].Version != second {
				t.failf("after refused changes the store holds %+v", got)
			}
		},
	},
	{
		"of changes at the same time exactly one succeeds",
		"the losers read again and try again; nothing is lost and nothing is applied twice",
		func(t *trial) {
			const workers, rounds = 8, 10
			version := t.put(instances.Instance{Name: "a"})
			for range rounds {
				version = t.race(workers, version)
			}
		},
	},
	{
		"a deleted instance is gone",
		"its token opens nothing any more, also after a restart; an instance of the same name begins anew",
		func(t *trial) {
			t.put(full("a"))
			t.put(full("b"))
			for range 2 { // the second one finds nothing to delete
				if err := t.store.DeleteInstance(t.Context(), "a"); err != nil {
					t.failf("DeleteInstance: %v", err)
				}
			}
			if got := t.all(); len(got) != 1 || got["b"].Name != "b" {
				t.failf("after deleting a the store holds %+v", got)
			}
			t.put(instances.Instance{Name: "a"})
			if got := t.all()["a"]; got.Token != "" || len(got.Settings) != 0 {
				t.failf("a new instance has something of the deleted one: %+v", got)
			}
		},
	},
	{
		"a value is what was put last",
		"the digest of the generated global key is such a value; nil means that there is none yet",
		func(t *trial) {
			t.value("k", nil)
			for _, v := range [][]byte{[]byte("one"), {}, {0, 255, '\''}, bytes.Repeat([]byte("x"), 1<<16)} {
				if err := t.store.PutValue(t.Context(), "k", v); err != nil {
					t.failf("PutValue: %v", err)
				}
				t.value("k", v)
			}
			t.value("K", nil)
		},
	},
	{
		"a value that was read is the caller's",
		"changing the bytes must not change what others read",
		func(t *trial) {
			mine := []byte("one")
			if err := t.store.PutValue(t.Context(), "k", mine); err != nil {
				t.failf("PutValue: %v", err)
			}
			mine[0] = 'X'
			got, err := t.store.Value(t.Context(), "k")
			if err != nil {
				t.failf("Value: %v", err)
			}
			t.value("k", []byte("one"))
			got[0] = 'X'
			t.value("k", []byte("one"))
		},
	},
	{
		"what was stored is there when the store is opened again",
		"PutInstance, DeleteInstance and PutValue return when it is kept for good",
		func(t *trial) {
			if !t.engine.Durable {
				t.Skip("the engine keeps nothing")
			}
			in := full("a")
			in.Version = t.put(in)
			t.put(full("gone"))
			if err := errors.Join(t.store.DeleteInstance(t.Context(), "gone"), t.store.PutValue(t.Context(), "k", []byte("v"))); err != nil {
				t.failf("%v", err)
			}
			t.reopen()
			got := t.all()
			if len(got) != 1 || asJSON(got["a"]) != asJSON(in) || got["a"].Version != in.Version {
				t.failf("after opening again the store holds %+v", got)
			}
			t.value("k", []byte("v"))
			t.put(in) // its version still counts
		},
	},
}

// race has so many workers replace the instance at one version, and returns the new one.
func (t *trial) race(workers int, version int64) int64 {
	t.Helper()
	var running sync.WaitGroup
	var won atomic.Int64
	errs := make(chan error, workers)
	for i := range workers {
		running.Go(func() {
			next, err := t.store.PutInstance(t.Context(), instances.Instance{Name: "a", ID: fmt.Sprint(i), Version: version})
			if err == nil {
				won.Store(next)
			}
			errs <- err
		})
	}
	running.Wait()
	close(errs)
	successes := 0
	for err := range errs {
		switch {
		case err == nil:
			successes++
		case !errors.Is(err, instances.ErrConflict):
			t.failf("PutInstance: %v, want nil or ErrConflict", err)
		}
	}
	if successes != 1 || t.all()["a"].Version != won.Load() {
		t.failf("%d of %d changes to version %d succeeded; the store holds %+v", successes, workers, version, t.all()["a"])
	}
	return won.Load()
}

func (t *trial) conflict(in instances.Instance) {
	t.Helper()
	if _, err := t.store.PutInstance(t.Context(), in); !errors.Is(err, instances.ErrConflict) {
		t.failf("PutInstance %s, version %d: %v, want ErrConflict", in.Name, in.Version, err)
	}
}

func (t *trial) value(key string, want []byte) {
	t.Helper()
	got, err := t.store.Value(t.Context(), key)
	if err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
		t.failf("Value of %s: %.40q (nil: %v), %v, want %.40q", key, got, got == nil, err, want)
	}
}

// full returns an instance with everything set.
func full(name string) instances.Instance {
	at := time.UnixMilli(1_700_000_000_123).UTC()
	return instances.Instance{
		Name: name, ID: "0192", Integration: "WHATSAPP-BAILEYS", Token: instances.Sum(name), ByEvent: true, CreatedAt: at, UpdatedAt: at.Add(time.Second),
		Settings: map[string]instances.Settings{
			"websocket": {ID: "1", Value: json.RawMessage(`{"enabled":true,"events":["CALL"]}`), CreatedAt: at, UpdatedAt: at},
			"webhook":   {ID: "2", Value: json.RawMessage(`{"url":"https://a/?b=<c>&d='é'"}`), CreatedAt: at, UpdatedAt: at},
		},
	}
}

func asJSON(in instances.Instance) string {
	b, err := json.Marshal(in)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
