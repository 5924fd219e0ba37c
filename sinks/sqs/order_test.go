package sqs_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
	"github.com/evosink/evosink/core/sink"
)

// SQS refuses entries of a request one by one, and a FIFO queue drops what it has taken within five minutes, by its
// deduplication id. So nothing may be taken too early in the first place.
func TestAConsumerOfAFIFOQueueThatRefusesSeesEveryEventOnceAndInOrder(t *testing.T) {
	const all = 200
	var mu sync.Mutex
	refused, taken := map[string]bool{}, map[string]bool{}
	var arrived []string
	s := newStub(t, func(w http.ResponseWriter, entries []entry) {
		mu.Lock()
		defer mu.Unlock()
		refuse := ""
		for _, e := range entries {
			var body struct{ ID string }
			if err := json.Unmarshal([]byte(e.MessageBody), &body); err != nil {
				t.Error(err)
			}
			if strings.HasSuffix(body.ID, "7") && !refused[body.ID] {
				refused[body.ID], refuse = true, fmt.Sprintf("%q", body.ID)
			} else if !taken[e.Deduplication] {
				taken[e.Deduplication], arrived = true, append(arrived, body.ID)
			}
		}
		accept(w, entries, refuse, "Strange")
	})
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	got := queuetest.Order{
		Store: engine.Queue(), Sink: start(t, s.config()), N: all, Arrived: func() []string { return arrived },
		To: queue.Destination{
			Lane: queue.LaneKey{Sink: "sqs", Target: "instance", Instance: "sales"}, Scope: sink.Instance,
		},
	}.Run(t)
	if got.Overtook != 0 || got.Repeats != 0 || len(refused) != all/10 {
		t.Errorf("%d events were refused; %+v", len(refused), got)
	}
}
