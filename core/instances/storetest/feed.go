package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/evosink/evosink/core/instances"
)

var feedRules = []rule{
	{
		"every change is in the feed in the store's order",
		"a node knows of an instance, a token or a setting what the feed tells it, and what comes twice, late or not at all is wrong there until a restart",
		func(t *trial) {
			start := t.revision()
			other := t.node()
			a := t.put(full("a"))
			b, err := other.PutInstance(t.Context(), full("b"))
			if err != nil {
				t.failf("PutInstance: %v", err)
			}
			changed := full("a")
			changed.Integration, changed.Version = "changed", a
			second := t.put(changed)
			removed := t.remove("b")
			again := t.put(full("b"))
			want := []string{
				fmt.Sprint(a, "a", full("a").Integration), fmt.Sprint(b.Version, "b", full("b").Integration),
				fmt.Sprint(second, "a", "changed"), fmt.Sprint(removed, "b", "deleted"), fmt.Sprint(again, "b", full("b").Integration),
			}
			for _, store := range []instances.Store{t.store, other} {
				updates := t.updates(store, start, len(want))
				for i, u := range updates {
					got := fmt.Sprint(u.Revision, u.Name, "deleted")
					if u.Instance != nil {
						got = fmt.Sprint(u.Revision, u.Name, u.Instance.Integration)
					}
					if got != want[i] || u.Revision != start+int64(i)+1 || u.Instance != nil && u.Instance.Version != u.Revision {
						t.failf("update %d behind revision %d is %s, with the instance %+v, want %s", i+1, start, got, u.Instance, want[i])
					}
				}
				if got := *updates[2].Instance; asJSON(got) != asJSON(changed) {
					t.failf("the update has %s, what was stored is %s", asJSON(got), asJSON(changed))
				}
			}
		},
	},
	{
		"the feed goes on behind any revision",
		"a node that was away for a moment, or whose connection broke, goes on where it was",
		func(t *trial) {
			start := t.revision()
			const n = 10
			for i := range n {
				t.put(instances.Instance{Name: fmt.Sprint("i", i)})
			}
			for from := range n {
				for i, u := range t.updates(t.node(), start+int64(from), n-from) {
					if u.Name != fmt.Sprint("i", from+i) {
						t.failf("update %d behind revision %d is of %s", i+1, start+int64(from), u.Name)
					}
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			waiting := make(chan error, 1)
			go func() {
				_, err := t.store.InstanceUpdates(ctx, start+n)
				waiting <- err
			}()
			select {
			case err := <-waiting:
				t.failf("InstanceUpdates behind the newest change has returned, with %v", err)
			case <-t.quiet():
			}
			cancel()
			if err := <-waiting; !errors.Is(err, context.Canceled) {
				t.failf("InstanceUpdates with an ended context: %v, want context.Canceled", err)
			}
		},
	},
	{
		"a change wakes a reader that waits for it",
		"what is set on one node is to be seen on the others at once",
		func(t *trial) {
			start := t.revision()
			got := make(chan string, 1)
			go func() {
				updates, err := t.node().InstanceUpdates(t.Context(), start)
				if err != nil || len(updates) == 0 {
					got <- fmt.Sprint("nothing: ", err)
					return
				}
				got <- updates[0].Name
			}()
			<-t.quiet() // it waits by now; if it does not yet, this rule finds less
			t.put(instances.Instance{Name: "a"})
			select {
			case name := <-got:
				if name != "a" {
					t.failf("the update is of %s", name)
				}
			case <-t.patience():
				t.failf("InstanceUpdates does not return")
			}
		},
	},
	{
		"a follower is given every change or told that some are forgotten",
		"a store may bound what it remembers, but a node that misses a change without knowing keeps an old token open",
		func(t *trial) {
			start := t.revision()
			const callers, each = 64, 40
			var running sync.WaitGroup
			for c := range callers {
				running.Go(func() {
					for i := range each {
						if _, err := t.store.PutInstance(t.Context(), instances.Instance{Name: fmt.Sprint(c, "-", i)}); err != nil {
							t.Errorf("PutInstance: %v", err)
						}
					}
				})
			}
			running.Wait()
			end := t.revision()
			if end != start+callers*each {
				t.failf("after %d changes the revision is %d, was %d", callers*each, end, start)
			}
			for from := start; from < end; {
				updates, err := t.store.InstanceUpdates(t.Context(), from)
				if errors.Is(err, instances.ErrForgotten) {
					from = max(from+1, from+(end-from)/2) // the newest ones are not forgotten
					continue
				}
				if err != nil || len(updates) == 0 {
					t.failf("InstanceUpdates behind %d: %d of them, %v", from, len(updates), err)
				}
				for _, u := range updates {
					if u.Revision != from+1 || u.Instance == nil || u.Instance.Name != u.Name {
						t.failf("behind revision %d comes %+v", from, u)
					}
					from = u.Revision
				}
			}
			if _, err := t.store.InstanceUpdates(t.Context(), end-1); err != nil {
				t.failf("the newest change is forgotten: %v", err)
			}
		},
	},
	{
		"what is read at a revision and what the feed gives behind it are everything",
		"a registry reads all instances once and follows from there, while others go on changing them",
		func(t *trial) {
			var running sync.WaitGroup
			const n = 200
			running.Go(func() {
				for i := range n {
					if _, err := t.store.PutInstance(t.Context(), instances.Instance{Name: fmt.Sprint("i", i)}); err != nil {
						t.Errorf("PutInstance: %v", err)
					}
				}
			})
			other := t.node()
			for done := false; !done; {
				all, revision, err := other.Instances(t.Context())
				if err != nil {
					t.failf("Instances: %v", err)
				}
				seen := map[string]bool{}
				for _, in := range all {
					if seen[in.Name] = true; in.Version > revision {
						t.failf("Instances as of revision %d have one of version %d", revision, in.Version)
					}
				}
				if len(seen) != int(revision) {
					t.failf("%d instances at revision %d, which created so many", len(seen), revision)
				}
				done = len(seen) == n
			}
			running.Wait()
		},
	},
}

// updates returns the n updates behind a revision.
func (t *trial) updates(store instances.Store, after int64, n int) (all []instances.Update) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), t.engine.Patience)
	defer cancel()
	for len(all) < n {
		updates, err := store.InstanceUpdates(ctx, after)
		if err != nil || len(updates) == 0 {
			t.failf("InstanceUpdates behind revision %d: %d of them, %v; so far %+v, want %d", after, len(updates), err, all, n)
		}
		all, after = append(all, updates...), updates[len(updates)-1].Revision
	}
	if len(all) > n {
		t.failf("behind revision %d there are %d updates, want %d: %+v", after, len(all), n, all)
	}
	return all
}
