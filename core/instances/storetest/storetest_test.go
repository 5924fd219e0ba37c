package storetest_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/instances/storetest"
)

// A fault makes a sound store break some rules.
type fault struct {
	store func(s instances.Store, node int) instances.Store
	rules []string // that must fail, as subtests' names
}

// faults are mistakes that a store over a network could make.
var faults = map[string]fault{
	"ignores versions": {
		func(s instances.Store, _ int) instances.Store { return heedless{s} },
		[]string{
			"a_record_is_replaced_only_by_who_knows_its_version", "of_changes_at_the_same_time_exactly_one_succeeds",
			"of_several_nodes_that_create_one_name_exactly_one_succeeds", "what_several_nodes_set_at_once_is_all_kept",
			"a_deleted_instance_is_gone",
		},
	},
	"gives a token away again": {
		func(s instances.Store, _ int) instances.Store { return generous{s} },
		[]string{"a_token_belongs_to_one_instance", "of_several_nodes_that_give_one_token_away_exactly_one_succeeds"},
	},
	"adds a value over another": {
		func(s instances.Store, _ int) instances.Store { return overwriting{s} },
		[]string{"a_value_stays_what_was_added_first", "nodes_that_start_for_the_first_time_at_once_have_one_global_key"},
	},
	"takes the caller's birth": {
		func(s instances.Store, _ int) instances.Store { return credulous{s} },
		[]string{"the_birth_of_an_instance_is_the_store's_and_stays"},
	},
	"loses updates": {
		feeding(func(page []instances.Update) []instances.Update {
			return slices.DeleteFunc(page, func(u instances.Update) bool { return u.Revision%3 == 0 })
		}),
		[]string{"every_change_is_in_the_feed_in_the_store's_order"},
	},
	"swaps updates": {
		feeding(func(page []instances.Update) []instances.Update {
			if len(page) > 1 {
				page[0], page[1] = page[1], page[0]
			}
			return page
		}),
		[]string{"every_change_is_in_the_feed_in_the_store's_order"},
	},
	"tells one node everything twice": {
		func(s instances.Store, node int) instances.Store {
			if node != 2 {
				return s
			}
			return feed{s, func(page []instances.Update) []instances.Update {
				return slices.Concat(page, []instances.Update{{Revision: page[len(page)-1].Revision, Name: page[0].Name}}, page)
			}}
		},
		[]string{"every_node_sees_every_change_in_the_same_order"},
	},
	"begins with what comes next": {
		func(s instances.Store, _ int) instances.Store { return late{s} },
		[]string{"the_feed_goes_on_behind_any_revision"},
	},
	"wakes no reader": {
		func(s instances.Store, _ int) instances.Store { return asleep{s} },
		[]string{"a_change_wakes_a_reader_that_waits_for_it"},
	},
	"forgets without a word": {
		func(s instances.Store, _ int) instances.Store { return forgetful{s} },
		[]string{
			"a_follower_is_given_every_change_or_told_that_some_are_forgotten",
			"a_node_that_has_missed_more_than_is_remembered_has_everything_afterwards",
		},
	},
	"deletes under a reader in two steps": {
		func(s instances.Store, _ int) instances.Store { return &piecemeal{Store: s} },
		[]string{"an_instance_that_is_deleted_under_a_reader_is_whole_or_gone"},
	},
	"reads the revision later than the instances": {
		func(s instances.Store, _ int) instances.Store { return &torn{Store: s} },
		[]string{"what_is_read_at_a_revision_and_what_the_feed_gives_behind_it_are_everything"},
	},
}

const (
	faultVariable = "STORETEST_FAULT"
	noFault       = "none"
)

// TestFaulty is what TestEveryFaultIsFound runs in a process of its own: the suite ends its test when a rule is broken.
func TestFaulty(t *testing.T) {
	name, patience := os.Getenv(faultVariable), time.Second // what fails waits for that
	if name == noFault {
		patience = 0 // the default
	}
	f, ok := faults[name]
	if !ok && name != noFault {
		t.Skip("runs as a child of TestEveryFaultIsFound")
	}
	storetest.Run(t, storetest.Engine{
		Durable: true, Nodes: true, Patience: patience,
		New: func(t *testing.T) storetest.Open {
			e, err := memory.New(memory.DefaultConfig())
			if err != nil {
				t.Fatal(err)
			}
			nodes := 0
			var mu sync.Mutex
			return func() (instances.Store, func() error, error) {
				mu.Lock()
				defer mu.Unlock()
				nodes++
				store := instances.Store(e)
				if name != noFault {
					store = f.store(e, nodes)
				}
				return store, func() error { return nil }, nil
			}
		},
	})
}

func TestEveryFaultIsFound(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, fault, rule string) string {
		cmd := exec.Command(self, "-test.v", "-test.run=^TestFaulty$/^"+rule+"$", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), faultVariable+"="+fault)
		out, _ := cmd.CombinedOutput() // its exit code says the same
		return string(out)
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, rule := range f.rules {
				if out := run(t, name, rule); !strings.Contains(out, "--- FAIL: TestFaulty/"+rule) || !strings.Contains(out, "The rule: ") {
					t.Errorf("a store that %s passes %q: %s", name, rule, out)
				}
				if out := run(t, noFault, rule); !strings.Contains(out, "--- PASS: TestFaulty/"+rule) {
					t.Errorf("a sound store does not pass %q: %s", rule, out)
				}
			}
		})
	}
}

type heedless struct{ instances.Store }

func (s heedless) PutInstance(ctx context.Context, in instances.Instance) (instances.Instance, error) {
	stored, err := s.Store.PutInstance(ctx, in)
	for errors.Is(err, instances.ErrConflict) {
		in.Version = s.version(ctx, in.Name)
		stored, err = s.Store.PutInstance(ctx, in)
	}
	return stored, err
}

func (s heedless) DeleteInstance(ctx context.Context, name string, _ int64) (int64, error) {
	return s.Store.DeleteInstance(ctx, name, s.version(ctx, name))
}

func (s heedless) version(ctx context.Context, name string) int64 {
	all, _, _ := s.Instances(ctx)
	for _, in := range all {
		if in.Name == name {
			return in.Version
		}
	}
	return 0
}

// generous takes an instance with another's token; that the token still opens the other one only makes it no better.
type generous struct{ instances.Store }

func (s generous) PutInstance(ctx context.Context, in instances.Instance) (instances.Instance, error) {
	stored, err := s.Store.PutInstance(ctx, in)
	if errors.Is(err, instances.ErrToken) {
		in.Token = ""
		return s.Store.PutInstance(ctx, in)
	}
	return stored, err
}

// overwriting confirms every value that was added.
type overwriting struct{ instances.Store }

func (s overwriting) AddValue(ctx context.Context, key string, value []byte) ([]byte, error) {
	_, err := s.Store.AddValue(ctx, key, value)
	return append([]byte{}, value...), err
}

func (s overwriting) Value(ctx context.Context, key string) ([]byte, error) {
	if key == "global_key_digest" { // as if all nodes had looked at the same moment
		return nil, nil
	}
	return s.Store.Value(ctx, key)
}

type credulous struct{ instances.Store }

func (s credulous) PutInstance(ctx context.Context, in instances.Instance) (instances.Instance, error) {
	stored, err := s.Store.PutInstance(ctx, in)
	stored.Birth = in.Birth
	return stored, err
}

// A feed changes what the feed of a store gives.
type feed struct {
	instances.Store
	change func([]instances.Update) []instances.Update
}

func feeding(change func([]instances.Update) []instances.Update) func(instances.Store, int) instances.Store {
	return func(s instances.Store, _ int) instances.Store { return feed{s, change} }
}

func (s feed) InstanceUpdates(ctx context.Context, after int64) ([]instances.Update, error) {
	page, err := s.Store.InstanceUpdates(ctx, after)
	if err != nil {
		return nil, err
	}
	return s.change(slices.Clone(page)), nil
}

type late struct{ instances.Store }

func (s late) InstanceUpdates(ctx context.Context, after int64) ([]instances.Update, error) {
	newest, err := s.InstanceRevision(ctx)
	if err != nil {
		return nil, err
	}
	return s.Store.InstanceUpdates(ctx, max(after, newest-1))
}

type asleep struct{ instances.Store }

func (s asleep) InstanceUpdates(ctx context.Context, after int64) ([]instances.Update, error) {
	if newest, _ := s.InstanceRevision(ctx); newest > after {
		return s.Store.InstanceUpdates(ctx, after)
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

type forgetful struct{ instances.Store }

func (s forgetful) InstanceUpdates(ctx context.Context, after int64) ([]instances.Update, error) {
	page, err := s.Store.InstanceUpdates(ctx, after)
	if errors.Is(err, instances.ErrForgotten) {
		newest, _ := s.InstanceRevision(ctx)
		return s.Store.InstanceUpdates(ctx, newest-1)
	}
	return page, err
}

// piecemeal empties a record that is deleted, and tells that it is gone only with the next change.
type piecemeal struct {
	instances.Store
	mu      sync.Mutex
	deleted []instances.Update // not told yet; guarded by mu
}

func (s *piecemeal) InstanceUpdates(ctx context.Context, after int64) ([]instances.Update, error) {
	page, err := s.Store.InstanceUpdates(ctx, after)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	page, s.deleted = slices.Concat(s.deleted, page), nil
	if last := &page[len(page)-1]; last.Instance == nil {
		s.deleted = []instances.Update{*last}
		last.Instance = &instances.Instance{Name: last.Name, ID: "emptied", Version: last.Revision}
	}
	return page, nil
}

type torn struct {
	instances.Store
	mu     sync.Mutex
	before []instances.Instance
}

func (s *torn) Instances(ctx context.Context) ([]instances.Instance, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, revision, err := s.Store.Instances(ctx)
	before := s.before
	s.before = all
	return before, revision, err
}
