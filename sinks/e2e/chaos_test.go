package e2e_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// chaos is how many times evosink is killed; `task chaos` sets it higher.
var chaos = flag.Int("chaos", 10, "kills of the webhook crash test")

// A receiver is a webhook's other end. It remembers what came, and can be away or slow.
type receiver struct {
	address string
	slow    atomic.Bool
	arrived func(id string) // called for every request, if not nil

	mu sync.Mutex
	// mu guards the fields below.
	got    map[string][]int // first deliveries, by instance
	seen   map[string]bool  // ids of events
	double int
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{address: freeAddress(t), got: map[string][]int{}, seen: map[string]bool{}}
	return r
}

// open lets the receiver take requests from now on.
func (r *receiver) open(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: r}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Serve(l)
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	if r.slow.Load() {
		select {
		case <-time.After(500 * time.Millisecond):
		case <-request.Context().Done():
			return
		}
	}
	var e envelope
	var data struct{ N int }
	bad := json.Unmarshal(body, &e) != nil || json.Unmarshal(e.Data, &data) != nil
	if r.arrived != nil {
		r.arrived(e.ID)
	}
	if bad {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[e.ID] {
		r.double++
		return
	}
	r.seen[e.ID] = true
	r.got[e.Instance] = append(r.got[e.Instance], data.N)
}

// count returns how many events of an instance have come.
func (r *receiver) count(instance string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got[instance])
}

func TestWebhooksSurviveKill9WithDeadAndSlowReceivers(t *testing.T) {
	const lanes = 50
	healthy, slow, dead := newReceiver(t), newReceiver(t), newReceiver(t)
	healthy.open(t)
	slow.slow.Store(true)
	slow.open(t)
	receivers := []*receiver{healthy, slow, dead}

	dir := t.TempDir()
	env := []string{"WEBHOOK_RETRY_INITIAL_DELAY_SECONDS=1", "WEBHOOK_RETRY_MAX_DELAY_SECONDS=1", "DELIVERY_BREAKER_MAX=1s", "LOG_LEVEL=error,info"}
	p := launch(t, dir, env...)
	var producers []*producer
	to := map[*producer]*receiver{}
	for i := range lanes {
		one := &producer{instance: fmt.Sprint("lane-", i)}
		producers, to[one] = append(producers, one), receivers[i%3]
		p.must(201, "POST", "/instance/create", fmt.Sprintf(
			`{"instanceName":%q,"webhook":{"url":"http://%s/%d","events":["MESSAGES_UPSERT"]}}`, one.instance, to[one].address, i))
	}
	for range *chaos {
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			produce(p.url, producers, 1000, stop)
		}()
		time.Sleep(time.Second + rand.N(3*time.Second)) // the moment of the crash, not a synchronisation
		p.kill()
		close(stop)
		<-ended
		p = launch(t, dir, env...)
	}
	slow.slow.Store(false)
	dead.open(t)

	accepted, double, cut := 0, 0, 0
	for _, one := range producers {
		accepted += len(one.accepted)
		cut += one.cut
		await(t, to[one], one)
	}
	for _, one := range producers {
		r := to[one]
		r.mu.Lock()
		check(t, one, r.got[one.instance])
		r.mu.Unlock()
	}
	for _, r := range receivers {
		r.mu.Lock()
		double += r.double
		r.mu.Unlock()
	}
	t.Logf("%d kills, %d events accepted, all delivered in order, %d delivered twice (%.2f %%), %d posts cut off",
		*chaos, accepted, double, 100*float64(double)/float64(accepted), cut)
	if 200*double > accepted {
		t.Errorf("%d of %d events were delivered twice, more than 0.5 %%", double, accepted)
	}
}

// await waits until every accepted event of the producer has come; it gives up when nothing comes any more.
func await(t *testing.T, r *receiver, p *producer) {
	t.Helper()
	if len(p.accepted) == 0 {
		return
	}
	last := p.accepted[len(p.accepted)-1]
	for came, since := -1, time.Now(); ; time.Sleep(10 * time.Millisecond) {
		r.mu.Lock()
		got := r.got[p.instance]
		complete := len(got) > 0 && got[len(got)-1] >= last
		r.mu.Unlock()
		if complete {
			return
		}
		if n := r.count(p.instance); n != came {
			came, since = n, time.Now()
		}
		if time.Since(since) > 60*time.Second {
			t.Fatalf("%s: %d of at least %d events came, and no more", p.instance, came, len(p.accepted))
		}
	}
}
