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
				version = t.replace(workers, version)
			}
		},
	},
	{
		"a deleted instance is gone",
		"its token opens nothing any more, also after a restart; an instance of the same name begins anew",
		func(t *trial) {
			t.put(full("a"))
			t.put(full("b"))
			version := t.all()["a"].Version
			for _, other := range []int64{0, version + 1} {
				if _, err := t.store.DeleteInstance(t.Context(), "a", other); !errors.Is(err, instances.ErrConflict) {
					t.failf("DeleteInstance of version %d, which is not stored: %v, want ErrConflict", other, err)
				}
			}
			if got := t.all()["a"]; got.Version != version {
				t.failf("a refused DeleteInstance has left %+v", got)
			}
			t.remove("a")
			if _, err := t.store.DeleteInstance(t.Context(), "a", version); !errors.Is(err, instances.ErrConflict) {
				t.failf("DeleteInstance of what is gone: %v, want ErrConflict", err)
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
		"a token belongs to one instance",
		"a token opens its own instance only, and two nodes that check before they store would both give it away",
		func(t *trial) {
			a := instances.Instance{Name: "a", Token: instances.Sum("t"), Version: t.put(instances.Instance{Name: "a", Token: instances.Sum("t")})}
			b := instances.Instance{Name: "b", Token: instances.Sum("t")}
			for range 2 { // for a new instance, and for one that exists
				if _, err := t.store.PutInstance(t.Context(), b); !errors.Is(err, instances.ErrToken) {
					t.failf("PutInstance with a's token: %v, want ErrToken", err)
				}
				if got := t.all()["b"]; got.Token != "" {
					t.failf("a refused instance is stored: %+v", got)
				}
				if b.Version == 0 {
					b.Version = t.put(instances.Instance{Name: "b"})
				}
			}
			t.put(instances.Instance{Name: "c"}) // having none is no token
			a.Version = t.put(a)                 // its own again
			a.Token = instances.Sum("other")
			t.put(a)
			b.Version = t.put(b) // it is free
			t.remove("b")
			a = t.all()["a"]
			a.Token = instances.Sum("t")
			t.put(a)

			var running sync.WaitGroup
			errs := make(chan error, 8)
			for i := range cap(errs) {
				running.Go(func() {
					_, err := t.node().PutInstance(t.Context(), instances.Instance{Name: fmt.Sprint("racing", i), Token: instances.Sum("new")})
					errs <- err
				})
			}
			running.Wait()
			close(errs)
			won := 0
			for err := range errs {
				if err == nil {
					won++
				} else if !errors.Is(err, instances.ErrToken) {
					t.failf("PutInstance: %v, want nil or ErrToken", err)
				}
			}
			if won != 1 {
				t.failf("%d of 8 instances that were created at once have the same token, want 1", won)
			}
		},
	},
	{
		"the birth of an instance is the store's and stays",
		"what the log holds from before belongs to a former instance of that name",
		func(t *trial) {
			first, err := t.store.PutInstance(t.Context(), instances.Instance{Name: "a", Birth: 1 << 40})
			if err != nil || first.Birth != 0 || t.all()["a"].Birth != 0 {
				t.failf("born beside an empty log: %+v, stored as %+v, %v, want birth 0", first, t.all()["a"], err)
			}
			first.Birth, first.Integration = 1<<40, "changed"
			second, err := t.store.PutInstance(t.Context(), first)
			if err != nil || second.Birth != 0 || t.all()["a"].Birth != 0 || second.Integration != "changed" {
				t.failf("after a change: %+v, stored as %+v, %v, want birth 0", second, t.all()["a"], err)
			}
		},
	},
	{
		"a value stays what was added first",
		"the digest of the generated global key is such a value: two nodes that start at once must not have two",
		func(t *trial) {
			t.value("k", nil)
			for i, v := range [][]byte{[]byte("one"), {}, {0, 255, '\''}, bytes.Repeat([]byte("x"), 1<<16)} {
				key := fmt.Sprint("k", i)
				t.add(key, v, v)
				t.add(key, []byte("another"), v)
				t.value(key, v)
			}
			t.value("K1", nil)
			var running sync.WaitGroup
			got := make([]string, 8)
			for i := range got {
				running.Go(func() {
					stored, err := t.node().AddValue(t.Context(), "racing", []byte(fmt.Sprint(i)))
					if got[i] = string(stored); err != nil {
						t.Errorf("AddValue: %v", err)
					}
				})
			}
			running.Wait()
			stored, err := t.store.Value(t.Context(), "racing")
			for _, v := range got {
				if err != nil || v != string(stored) {
					t.failf("of values that were added at once %q is stored, %v, and AddValue returned %q", stored, err, got)
				}
			}
		},
	},
	{
		"a value that was read is the caller's",
		"changing the bytes must not change what others read",
		func(t *trial) {
			mine := []byte("one")
			stored, err := t.store.AddValue(t.Context(), "k", mine)
			if err != nil {
				t.failf("AddValue: %v", err)
			}
			mine[0], stored[0] = 'X', 'X'
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
		"PutInstance, DeleteInstance and AddValue return when it is kept for good",
		func(t *trial) {
			if !t.engine.Durable {
				t.Skip("the engine keeps nothing")
			}
			in := full("a")
			in.Version = t.put(in)
			t.put(full("gone"))
			t.remove("gone")
			t.add("k", []byte("v"), []byte("v"))
			before := t.revision()
			t.reopen()
			got := t.all()
			if len(got) != 1 || asJSON(got["a"]) != asJSON(in) || got["a"].Version != in.Version {
				t.failf("after opening again the store holds %+v", got)
			}
			t.value("k", []byte("v"))
			if after := t.revision(); after != before {
				t.failf("after opening again the revision is %d, was %d", after, before)
			}
			if again := full("b"); t.put(again) <= before {
				t.failf("after opening again a change got a revision that was used before")
			}
			t.put(in) // its version still counts
			if _, err := t.store.PutInstance(t.Context(), instances.Instance{Name: "other", Token: in.Token}); !errors.Is(err, instances.ErrToken) {
				t.failf("after opening again a's token was given away: %v", err)
			}
		},
	},
}

// replace has so many workers replace the instance at one version, and returns the new one.
func (t *trial) replace(workers int, version int64) int64 {
	t.Helper()
	var running sync.WaitGroup
	var won atomic.Int64
	errs := make(chan error, workers)
	for i := range workers {
		running.Go(func() {
			next, err := t.store.PutInstance(t.Context(), instances.Instance{Name: "a", ID: fmt.Sprint(i), Version: version})
			if err == nil {
				won.Store(next.Version)
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

func (t *trial) add(key string, value, want []byte) {
	t.Helper()
	stored, err := t.store.AddValue(t.Context(), key, value)
	if err != nil || stored == nil || !bytes.Equal(stored, want) {
		t.failf("AddValue %s: %.40q, %v, want %.40q", key, stored, err, want)
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
