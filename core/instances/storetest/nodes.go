package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evosink/evosink/core/instances"
)

func (t *trial) patience() <-chan time.Time { return time.After(t.engine.Patience) }

// quiet is how long to watch for what must not happen.
func (t *trial) quiet() <-chan time.Time { return time.After(50 * time.Millisecond) }

// nodeRules are about registries of several nodes on one store.
var nodeRules = []rule{
	{
		"every node sees every change in the same order",
		"sockets are closed and namespaces opened by changes, on whichever node they are and whichever node the change was made on",
		func(t *trial) {
			const each = 20
			nodes := t.nodes(3)
			var running sync.WaitGroup
			for i, n := range nodes {
				running.Go(func() {
					for k := range each {
						name := fmt.Sprint("n", i, "-", k)
						_, err := n.Create(t.Context(), instances.Instance{Name: name}, "token "+name)
						if err == nil {
							_, err = n.Set(t.Context(), name, "websocket", json.RawMessage(`{}`))
						}
						if err == nil {
							_, err = n.SetToken(t.Context(), name, "second token "+name)
						}
						if err == nil && k%2 == 0 {
							err = n.Delete(t.Context(), name)
						}
						if _, exists := n.Get(name); err != nil || exists == (k%2 == 0) {
							t.Errorf("%s: %v, and the node that did it does not show it", name, err)
						}
					}
				})
			}
			running.Wait()
			want := nodes[0].log.all(t, len(nodes)*(3*each+each/2))
			for _, c := range want {
				if (c.Kind == instances.Deleted) != (c.ID != "") {
					t.failf("%+v has the id of a record, or lacks that of the one that is gone", c)
				}
			}
			for i, n := range nodes[1:] {
				if got := n.log.all(t, len(want)); !slices.Equal(got, want) {
					t.failf("node %d was told\n%v\nand node 0\n%v", i+1, got, want)
				}
			}
			for i, n := range nodes {
				for k := range each {
					key := fmt.Sprint("second token n", (i+1)%3, "-", k)
					if _, name, ok := n.Authenticate(key); ok != (k%2 == 1) {
						t.failf("on node %d %q opens %q (%t)", i, key, name, ok)
					}
				}
			}
		},
	},
	{
		"of several nodes that create one name exactly one succeeds",
		"the others have to say that it exists, and to have the one that does",
		func(t *trial) {
			nodes := t.nodes(3)
			for round := range 10 {
				name := fmt.Sprint("i", round)
				ids, won := t.race(nodes, func(n *node, i int) (string, error) {
					in, err := n.Create(t.Context(), instances.Instance{Name: name}, fmt.Sprint("token ", round, i))
					if errors.Is(err, instances.ErrExists) {
						in, _ = n.Get(name)
					}
					return in.ID, err
				}, instances.ErrExists)
				if won != 1 || ids[0] == "" || ids[0] != ids[1] || ids[1] != ids[2] {
					t.failf("%d of 3 nodes have created it, and they know it as %q", won, ids)
				}
			}
			made, won := t.race(nodes, func(n *node, _ int) (string, error) {
				in, err := n.Ensure(t.Context(), instances.Instance{Name: "by event", ByEvent: true})
				return in.ID, err
			}, nil)
			if won != len(nodes) || made[0] == "" || made[0] != made[1] || made[1] != made[2] {
				t.failf("the first event of an instance on three nodes has made %q", made)
			}
			_, won = t.race(nodes, func(n *node, i int) (string, error) {
				in, err := n.Adopt(t.Context(), instances.Instance{Name: "by event"}, fmt.Sprint("adopted ", i))
				return in.ID, err
			}, instances.ErrExists)
			if won != 1 {
				t.failf("%d of 3 nodes have adopted one instance", won)
			}
		},
	},
	{
		"of several nodes that give one token away exactly one succeeds",
		"a token that opens two instances lets one tenant read what is another's",
		func(t *trial) {
			nodes := t.nodes(3)
			for round := range 10 {
				token := fmt.Sprint("token ", round)
				names, won := t.race(nodes, func(n *node, i int) (string, error) {
					in, err := n.Create(t.Context(), instances.Instance{Name: fmt.Sprint("i", round, "-", i)}, token)
					return in.Name, err
				}, instances.ErrToken)
				if won != 1 {
					t.failf("%d of 3 nodes have given %s away, to %q", won, token, names)
				}
				for i, n := range nodes {
					if err := n.Refresh(t.Context()); err != nil {
						t.failf("Refresh: %v", err)
					}
					if _, name, ok := n.Authenticate(token); !ok || !slices.Contains(names, name) {
						t.failf("on node %d %s opens %q, given to %q", i, token, name, names)
					}
				}
			}
		},
	},
	{
		"what several nodes set at once is all kept",
		"the settings of one instance are one record, and the sinks' settings in it are set by different people",
		func(t *trial) {
			const each = 10
			nodes := t.nodes(3)
			if _, err := nodes[0].Create(t.Context(), instances.Instance{Name: "a"}, ""); err != nil {
				t.failf("create: %v", err)
			}
			for k := range each { // at first on nodes that may not have seen yet that the instance exists
				_, won := t.race(nodes, func(n *node, i int) (string, error) {
					_, err := n.Set(t.Context(), "a", fmt.Sprint("sink ", i, k), json.RawMessage(`{}`))
					return "", err
				}, nil)
				if won != len(nodes) {
					t.failf("%d of %d nodes could set something", won, len(nodes))
				}
			}
			if got := t.all()["a"]; len(got.Settings) != each*len(nodes) {
				t.failf("%d settings are stored of %d that were set", len(got.Settings), each*len(nodes))
			}
		},
	},
	{
		"an instance that is deleted under a reader is whole or gone",
		"a request that authenticates, reads or sets while another node deletes must not see half an instance, nor bring it back",
		func(t *trial) {
			nodes := t.nodes(2)
			var running sync.WaitGroup
			stop := make(chan struct{})
			for _, n := range nodes {
				running.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						in, ok := n.Get("a")
						if ok && (in.ID == "" || in.Token != instances.Sum("key") || in.Version == 0) {
							t.Errorf("a reader has met %+v", in)
							return
						}
						if _, name, ok := n.Authenticate("key"); ok && name != "a" {
							t.Errorf("the key opens %q", name)
						}
						if _, err := n.Set(t.Context(), "a", "webhook", json.RawMessage(`{}`)); err != nil &&
							!errors.Is(err, instances.ErrUnknown) && !errors.Is(err, instances.ErrConflict) {
							t.Errorf("Set: %v", err)
						}
					}
				})
			}
			for i := range 20 {
				in, err := nodes[i%2].Create(t.Context(), instances.Instance{Name: "a"}, "key")
				if err != nil || len(in.Settings) > 0 {
					t.Errorf("create: %+v, %v", in, err)
				}
				if err := nodes[(i+1)%2].Delete(t.Context(), "a"); err != nil {
					t.Errorf("delete on the other node: %v", err)
				}
			}
			close(stop)
			running.Wait()
			if t.Failed() {
				t.failf("an instance was there, and not as it had been made")
			}
			if got := t.all(); len(got) != 0 {
				t.failf("after everything was deleted the store holds %+v", got)
			}
		},
	},
	{
		"nodes that start for the first time at once have one global key",
		"each shows its key to the operator and opens everything to it; one that no other node knows opens nothing there",
		func(t *trial) {
			const n = 8
			digests, keys := make([]instances.Digest, n), make([]string, n)
			var running sync.WaitGroup
			for i := range n {
				store := t.node()
				running.Go(func() {
					var err error
					if digests[i], keys[i], err = instances.GlobalKey(t.Context(), store, ""); err != nil {
						t.Errorf("GlobalKey: %v", err)
					}
				})
			}
			running.Wait()
			shown := 0
			for i := range n {
				if keys[i] != "" {
					shown++
				}
				if digests[i] == "" || digests[i] != digests[0] || keys[i] != "" && instances.Sum(keys[i]) != digests[0] {
					t.failf("node %d has the key %s and showed %q; node 0 has %s", i, digests[i], keys[i], digests[0])
				}
			}
			if shown != 1 {
				t.failf("%d nodes have shown a key", shown)
			}
		},
	},
	{
		"a node that has missed more than is remembered has everything afterwards",
		"it reads all instances again, and tells what is different: a socket of a token that opens nothing any more is to be closed",
		func(t *trial) {
			asleep := t.sleeping()
			awake := t.nodes(1)[0]
			for _, name := range []string{"changed", "deleted", "recreated", "same"} {
				if _, err := awake.Create(t.Context(), instances.Instance{Name: name}, name+" token"); err != nil {
					t.failf("create: %v", err)
				}
			}
			t.refresh(asleep)
			asleep.log.all(t, 4)
			var running sync.WaitGroup
			for i := range 64 {
				running.Go(func() {
					for k := range 20 {
						if _, err := awake.Create(t.Context(), instances.Instance{Name: fmt.Sprint("new ", i, "-", k)}, ""); err != nil {
							t.Errorf("create: %v", err)
						}
					}
				})
			}
			_, err := awake.SetToken(t.Context(), "changed", "another token")
			if err == nil {
				_, err = awake.Set(t.Context(), "changed", "webhook", json.RawMessage(`{"a":1}`))
			}
			if err == nil {
				err = errors.Join(awake.Delete(t.Context(), "deleted"), awake.Delete(t.Context(), "recreated"))
			}
			if err == nil {
				_, err = awake.Create(t.Context(), instances.Instance{Name: "recreated"}, "changed token")
			}
			if err != nil {
				t.failf("change: %v", err)
			}
			running.Wait()
			t.refresh(asleep)
			if got, want := asleep.All(), awake.All(); len(got) != len(want) || len(got) != 64*20+3 {
				t.failf("it has %d instances, the other node %d, there are %d", len(got), len(want), 64*20+3)
			}
			told := map[string][]string{}
			for _, c := range asleep.log.all(t, 0)[4:] {
				told[c.Instance] = append(told[c.Instance], fmt.Sprint(c.Kind, c.Sink))
			}
			for name, want := range map[string][]instances.Change{
				"changed": {{Kind: instances.NewToken}, {Kind: instances.NewSettings, Sink: "webhook"}}, "deleted": {{Kind: instances.Deleted}},
				"recreated": {{Kind: instances.Deleted}, {Kind: instances.Created}}, "same": nil, "new 0-0": {{Kind: instances.Created}},
			} {
				var texts []string
				for _, c := range want {
					texts = append(texts, fmt.Sprint(c.Kind, c.Sink))
				}
				if !slices.Equal(told[name], texts) {
					t.failf("of %s it told %q, want %q", name, told[name], texts)
				}
			}
			for key, want := range map[string]string{
				"another token": "changed", "changed token": "recreated", "recreated token": "", "deleted token": "", "same token": "same",
			} {
				if _, name, _ := asleep.Authenticate(key); name != want {
					t.failf("there %q opens %q, want %q", key, name, want)
				}
			}
		},
	},
}

// A node is a registry, with what it told of changes.
type node struct {
	*instances.Registry
	log *changes
}

type changes struct {
	mu   sync.Mutex
	told []instances.Change
}

// all returns what was told, once there are n changes; an error if there are more, unless n is 0.
func (c *changes) all(t *trial, n int) []instances.Change {
	t.Helper()
	for deadline := t.patience(); ; {
		c.mu.Lock()
		told := slices.Clone(c.told)
		c.mu.Unlock()
		if n == 0 || len(told) == n {
			return told
		}
		select {
		case <-deadline:
			t.failf("%d changes were told, want %d: %v", len(told), n, told)
		case <-time.After(time.Millisecond):
		}
	}
}

// sleeping opens a registry that follows nothing.
func (t *trial) sleeping() *node {
	t.Helper()
	r, err := instances.Open(t.Context(), meeting{t.node(), t})
	if err != nil {
		t.failf("open a registry: %v", err)
	}
	n := &node{r, &changes{}}
	r.Watch(func(c instances.Change) {
		n.log.mu.Lock()
		defer n.log.mu.Unlock()
		n.log.told = append(n.log.told, c)
	})
	return n
}

func (t *trial) refresh(n *node) {
	t.Helper()
	if err := n.Refresh(t.Context()); err != nil {
		t.failf("Refresh: %v", err)
	}
}

// nodes opens registries that follow the store until the rule ends.
func (t *trial) nodes(n int) (all []*node) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for range n {
		one := t.sleeping()
		running.Go(func() {
			if err := one.Follow(ctx); err != nil {
				t.Errorf("Follow: %v", err)
			}
		})
		all = append(all, one)
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return all
}

// A meeting is the store of a node in a race: there it holds the first write of each node until all are there, so that
// none of them knows of another's.
type meeting struct {
	instances.Store
	trial *trial
}

// PutInstance implements [instances.Store].
func (m meeting) PutInstance(ctx context.Context, in instances.Instance) (instances.Instance, error) {
	if r := m.trial.racing.Load(); r != nil {
		if left := r.left.Add(-1); left == 0 {
			close(r.all)
		} else if left > 0 {
			<-r.all
		}
	}
	return m.Store.PutInstance(ctx, in)
}

// A race is several nodes that are to write at the same moment.
type race struct {
	left atomic.Int64
	all  chan struct{} // closed when none is left
}

// race has all nodes write something at once. It returns what they answered, and how many succeeded; the others must
// return lost.
func (t *trial) race(nodes []*node, do func(n *node, i int) (string, error), lost error) (answers []string, won int) {
	t.Helper()
	answers, errs := make([]string, len(nodes)), make([]error, len(nodes))
	r := &race{all: make(chan struct{})}
	r.left.Store(int64(len(nodes)))
	t.racing.Store(r)
	defer t.racing.Store(nil)
	var running sync.WaitGroup
	for i, n := range nodes {
		running.Go(func() { answers[i], errs[i] = do(n, i) })
	}
	running.Wait()
	for _, err := range errs {
		if err == nil {
			won++
		} else if lost == nil || !errors.Is(err, lost) {
			t.failf("%v, want nil or %v", err, lost)
		}
	}
	return answers, won
}
