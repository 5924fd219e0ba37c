package postgres_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
)

// Deliveries of an event that end at the same moment, in different lanes, leave nothing of it.
func TestAnEventGoesWithTheLastOfItsDeliveries(t *testing.T) {
	c := newConfig(t)
	s := open(t, c).Queue()
	leases := []bus.Lease{queuetest.Lease(s, "a")}
	const events = 50
	e := queue.Entry{At: time.Now(), Position: 1}
	for sink := range 4 {
		lane := queue.LaneKey{Sink: fmt.Sprint("sink ", sink), Target: "t:one", Instance: "a"}
		e.To = append(e.To, queue.Destination{Lane: lane})
	}
	var entries []queue.Entry
	for n := range events {
		e.Event = newEvent("a", n)
		entries = append(entries, e)
	}
	places, err := s.Put(t.Context(), leases, nil, entries...)
	if err != nil {
		t.Fatal(err)
	}
	for n := range events {
		var ending sync.WaitGroup
		for i, to := range e.To {
			r := queue.Result{Lane: to.Lane, Seq: places[n*len(e.To)+i].Seq, Kind: queue.Delivered}
			ending.Go(func() {
				if err := s.Record(t.Context(), leases, []queue.Result{r}); err != nil {
					t.Error(err)
				}
			})
		}
		ending.Wait()
	}
	for _, table := range []string{"queue_deliveries", "queue_events"} {
		if n := number(t, c, "SELECT count(*) FROM @."+table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
}
