package instances_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evosink/evosink/core/instances"
)

// counting is a store that counts how often it is asked how far it is.
type counting struct {
	instances.Store
	asked atomic.Int64
	hang  chan struct{} // closed when questions are answered; nil for at once
}

func (s *counting) InstanceRevision(ctx context.Context) (int64, error) {
	s.asked.Add(1)
	if s.hang != nil {
		select {
		case <-s.hang:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return s.Store.InstanceRevision(ctx)
}

func TestCatchingUpAsksTheStoreOnlyForWhatIsNotShownYet(t *testing.T) {
	store := newStore(t)
	here, counted := open(t, store), &counting{Store: store}
	there := open(t, counted)
	create(t, here, "sales", "key")
	if err := there.CatchUp(t.Context(), here.Revision()); err != nil {
		t.Fatal(err)
	}
	wantKey(t, there, "key", "sales")
	for range 100 {
		if err := there.CatchUp(t.Context(), here.Revision()); err != nil {
			t.Fatal(err)
		}
	}
	if n := counted.asked.Load(); n != 1 {
		t.Errorf("the store was asked %d times", n)
	}
	if err := there.CatchUp(t.Context(), here.Revision()+1000); err != nil || there.Revision() != here.Revision() {
		t.Errorf("after a restore: %v, at revision %d of %d", err, there.Revision(), here.Revision())
	}
}

func TestWhatIsUnknownIsLookedForOnceASecondPerClientAndKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		here, counted := open(t, store), &counting{Store: store}
		there := open(t, counted)
		recheck := func(client, sought string, want int64) {
			t.Helper()
			before := counted.asked.Load()
			there.Recheck(t.Context(), client, sought)
			if n := counted.asked.Load() - before; n != want {
				t.Errorf("%s looks for %s: the store was asked %d times, want %d", client, sought, n, want)
			}
		}
		create(t, here, "sales", "key")
		recheck("a", "key", 1)
		wantKey(t, there, "key", "sales")
		recheck("a", "another key", 0)
		recheck("b", "key", 0)
		recheck("b", "another key", 1)
		time.Sleep(time.Second)
		recheck("b", "another key", 1)
		recheck("a", "key", 1)
		time.Sleep(time.Second)
		for i := range 1000 {
			there.Recheck(t.Context(), fmt.Sprint("client ", i), fmt.Sprint("key ", i))
		}
		recheck("c", "key of c", 0)
		if n := counted.asked.Load() - 4; n != 128 {
			t.Errorf("within a second the store was asked %d times, want 128", n)
		}
	})
}

// A page opens several connections at once with a key that was made a moment ago.
func TestAllThatLookForOneKeyWaitForTheSameLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		counted := &counting{Store: store}
		here, there := open(t, store), open(t, counted)
		create(t, here, "sales", "key")
		counted.hang = make(chan struct{})
		var looking sync.WaitGroup
		for range 6 {
			looking.Go(func() {
				there.Recheck(t.Context(), "client", "key")
				wantKey(t, there, "key", "sales")
			})
		}
		synctest.Wait()
		close(counted.hang)
		looking.Wait()
		if n := counted.asked.Load(); n != 1 {
			t.Errorf("the store was asked %d times", n)
		}

		time.Sleep(time.Second)
		counted.hang = make(chan struct{}) // for good: a store that does not answer
		began := time.Now()
		there.Recheck(t.Context(), "client", "key")
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("it waited %v for a store that does not answer", took)
		}
	})
}
