package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
					if got != want[i] || u.Instance != nil && u.Instance.Version != u.Revision {
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
			revisions := []int64{start}
			for i := range n {
				revisions = append(revisions, t.put(instances.Instance{Name: fmt.Sprint("i", i)}))
			}
			for from := range n {
				for i, u := range t.updates(t.node(), revisions[from], n-from) {
					if u.Name != fmt.Sprint("i", from+i) {
						t.failf("update %d behind revision %d is of %s", i+1, revisions[from], u.Name)
					}
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			waiting := make(chan error, 1)
			go func() {
				_, err := t.store.InstanceUpdates(ctx, revisions[n])
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
			const callers, each = 64, 40
			stored := t.fill(callers, each)
			for seen := 0; seen < len(stored); {
				after := stored[seen].Version - 1
				updates, err := t.store.InstanceUpdates(t.Context(), after)
				if errors.Is(err, instances.ErrForgotten) {
					seen += max(1, (len(stored)-seen)/2)
					continue
				}
				if err != nil || len(updates) == 0 {
					t.failf("InstanceUpdates behind %d: %d of them, %v", after, len(updates), err)
				}
				for _, u := range updates {
					if want := stored[seen]; u.Revision != want.Version || u.Name != want.Name || u.Instance == nil {
						t.failf("behind revision %d comes %+v, want that of %s at %d", after, u, want.Name, want.Version)
					}
					seen++
				}
			}
			if _, err := t.store.InstanceUpdates(t.Context(), stored[len(stored)-1].Version-1); err != nil {
				t.failf("the newest change is forgotten: %v", err)
			}
		},
	},
	{
		"what is read at a revision and what the feed gives behind it are everything",
		"a registry reads all instances once and follows from there, while others go on changing them",
		func(t *trial) {
			type snapshot struct {
				revision int64
				names    int
			}
			var snapshots []snapshot
			var stored []instances.Instance
			const callers, each = 4, 50
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				stored = t.fill(callers, each)
			}()
			other := t.node()
			for {
				all, revision, err := other.Instances(t.Context())
				if err != nil {
					t.failf("Instances: %v", err)
				}
				for _, in := range all {
					if in.Version > revision {
						t.failf("Instances as of revision %d have one of version %d", revision, in.Version)
					}
				}
				snapshots = append(snapshots, snapshot{revision, len(all)})
				if len(all) >= callers*each || t.Failed() {
					break
				}
			}
			<-ended
			for _, s := range snapshots {
				at := 0
				for _, in := range stored {
					if in.Version <= s.revision {
						at++
					}
				}
				if s.names != at {
					t.failf("Instances as of revision %d are %d, and %d were created up to there", s.revision, s.names, at)
				}
			}
		},
	},
}

// fill creates instances by several callers at once. It returns them in the order of their versions.
func (t *trial) fill(callers, each int) []instances.Instance {
	t.Helper()
	stored := make([]instances.Instance, callers*each)
	var running sync.WaitGroup
	for c := range callers {
		running.Go(func() {
			for i := range each {
				var err error
				in := instances.Instance{Name: fmt.Sprint(c, "-", i)}
				if stored[c*each+i], err = t.store.PutInstance(t.Context(), in); err != nil {
					t.Errorf("PutInstance: %v", err)
				}
			}
		})
	}
	running.Wait()
	slices.SortFunc(stored, func(a, b instances.Instance) int { return cmp.Compare(a.Version, b.Version) })
	return stored
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
