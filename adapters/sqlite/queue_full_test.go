package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
	"github.com/evosink/evosink/core/sink"
)

// recorder is a sink that keeps the ids it was given, in order.
type recorder struct {
	mu  sync.Mutex
	ids []string
}

func (*recorder) Start(context.Context) error { return nil }
func (*recorder) Close(context.Context) error { return nil }

func (r *recorder) Deliver(_ context.Context, d *sink.Delivery) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids = append(r.ids, d.Event.ID)
	return nil
}

func (r *recorder) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids)
}

func putNumbered(q *queue.Queue, n int, data []byte) error {
	e := numbered("sales", n)
	e.Data = data
	return q.Put(context.Background(), e, []queue.Destination{ownLane("sales")})
}

func TestAFullDiskRefusesEventsAndLosesNoDelivery(t *testing.T) {
	db := open(t, newConfig(t))
	s := &recorder{}
	q := startQueue(t, db, s)
	if err := q.Pause(t.Context(), queue.Selector{Sink: "hook"}, "to fill the disk"); err != nil {
		t.Fatal(err)
	}
	if err := db.LimitPages(400); err != nil {
		t.Fatal(err)
	}
	large := fmt.Appendf(nil, "%q", make([]byte, 10_000))
	var want []string
	var err error
	for n := 0; err == nil; n++ {
		if err = putNumbered(q, n, large); err == nil {
			want = append(want, numbered("sales", n).ID)
		}
	}
	if !errors.Is(err, sqlite.ErrFull) {
		t.Errorf("Put on a full disk returned %v, want ErrFull", err)
	}
	if db.Check(t.Context()) == nil {
		t.Error("Check is nil although the disk is full")
	}
	// Delivering goes on: nothing is stored for it but what is removed.
	if err := db.LimitPages(0); err != nil {
		t.Fatal(err)
	}
	if err := q.Resume(t.Context(), queue.Selector{Sink: "hook"}); err != nil {
		t.Fatal(err)
	}
	if err := putNumbered(q, len(want), large); err != nil {
		t.Errorf("Put with space on the disk: %v", err)
	}
	want = append(want, numbered("sales", len(want)).ID)
	waitFor(t, "everything to be delivered and removed", func() bool {
		lanes, err := db.Queue().Lanes(t.Context())
		return err == nil && len(lanes) == 0 && len(s.got()) >= len(want)
	})
	if got := s.got(); !slices.Equal(got, want) {
		t.Errorf("delivered %d events, want %d, in order", len(got), len(want))
	}
}

func TestABusyWriterHoldsUpPutOnlyUntilItsContextEnds(t *testing.T) {
	db := open(t, newConfig(t))
	s := &recorder{}
	q := startQueue(t, db, s)
	release := db.Hold()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := q.Put(ctx, numbered("sales", 0), []queue.Destination{ownLane("sales")})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put returned %v", err)
	}
	release()
	if err := putNumbered(q, 1, []byte("1")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a delivery", func() bool { return len(s.got()) > 0 })
	if got := s.got(); got[0] != numbered("sales", 1).ID {
		t.Errorf("delivered %v: an error of Put must mean that nothing was put", got)
	}
}

func TestTheQueueForgetsWhatItDeliveredInBoundedSpace(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	store := db.Queue()
	lane := ownLane("sales")
	for n := range 800 {
		e := queue.Entry{Event: numbered("sales", n), At: time.Now(), To: []queue.Destination{lane}}
		places, err := store.Put(t.Context(), []bus.Lease{queuetest.Lease(store, "sales")}, nil, e)
		if err != nil {
			t.Fatal(err)
		}
		if n == 10 {
			continue // it waits
		}
		if err := store.Record(t.Context(), []bus.Lease{queuetest.Lease(store, "sales")}, []queue.Result{{Lane: lane.Lane, Seq: places[0].Seq, Kind: queue.Delivered}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Sweep(t.Context(), queue.Retention{SeenAge: time.Hour, Seen: 300, SeenBytes: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, c, "queue_events"); n < 301-256 || n > 301 {
		t.Errorf("%d events are remembered, want 300 and the one that waits, or a mark's events less", n)
	}
	items, err := store.Window(t.Context(), lane.Lane, 0, 1<<62, 10, 1<<20)
	if err != nil || len(items) != 1 || items[0].Event.ID != numbered("sales", 10).ID {
		t.Errorf("what waits is %v, %v", items, err)
	}
}

func count(t *testing.T, c sqlite.Config, table string) (n int) {
	t.Helper()
	query(t, c, "SELECT count(*) FROM "+table, &n)
	return n
}
