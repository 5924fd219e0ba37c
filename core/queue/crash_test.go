package queue_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// The variables that make the test binary a child process: the path of its file, the address that it delivers to,
// which of the processes it is that had the file one after the other, and whether it only delivers what is there.
const (
	childFile  = "EVOSINK_QUEUE_TEST_FILE"
	childURL   = "EVOSINK_QUEUE_TEST_URL"
	childRound = "EVOSINK_QUEUE_TEST_ROUND"
	childDrain = "EVOSINK_QUEUE_TEST_DRAIN"
)

// chaosRounds is the variable that makes the test with killed processes longer (task chaos).
const chaosRounds = "EVOSINK_CHAOS_ROUNDS"

const (
	crashLanes = 50                    // a third healthy, a third dead, a third slow
	crashPause = 50 * time.Millisecond // between the events of a lane: 1,000 events/s in all
)

var kinds = []string{"good", "dead", "slow"}

func crashInstance(lane int) string { return fmt.Sprintf("%s-%02d", kinds[lane%3], lane) }

// poster delivers by HTTP.
type poster struct{ url string }

func (*poster) Start(context.Context) error { return nil }
func (*poster) Close(context.Context) error { return nil }

func (p *poster) Deliver(ctx context.Context, d *sink.Delivery) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/"+d.Event.Instance, strings.NewReader(d.Event.ID))
	if err != nil {
		return err
	}
	req.Header.Set("Round", os.Getenv(childRound))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return sink.Unavailable(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", res.Status)
	}
	return nil
}

func (*poster) Retry(*sink.Delivery) sink.Policy {
	return sink.Policy{Base: 50 * time.Millisecond, Max: time.Second, Factor: 2, Timeout: 10 * time.Second}
}

// A witness is a store that tells of every delivery that it has written down as made: "done <id>". A delivery that was
// stored is written down by its result, another one by a mark.
type witness struct {
	queue.Store

	mu sync.Mutex
	// mu guards the fields below.
	ids    map[queue.LaneKey]map[int64]string // of what waits in the store
	logged map[place]string                   // of what was appended, which marks tell of; "" for what is stored
}

// A place is where the log has an event.
type place struct {
	shard int
	at    bus.Position
}

func newWitness(s queue.Store) *witness {
	return &witness{Store: s, ids: map[queue.LaneKey]map[int64]string{}, logged: map[place]string{}}
}

func (w *witness) saw(l queue.LaneKey, seq int64, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ids[l] == nil {
		w.ids[l] = map[int64]string{}
	}
	w.ids[l][seq] = id
}

// appended notes where the log has an event, unless it was stored before its producer knew.
func (w *witness) appended(at place, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, stored := w.logged[at]; stored {
		delete(w.logged, at)
		return
	}
	w.logged[at] = id
}

// tell tells of what has gone with marks that are written: each event of this test goes to a single lane.
func (w *witness) tell(marks []queue.Mark) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range marks {
		behind, err := queue.DoneOf(m)
		if err != nil {
			os.Stdout.WriteString("error " + err.Error() + "\n")
		}
		for at, id := range w.logged {
			done := at.at <= m.Cursor.Position || slices.Contains(behind, at.at)
			if id != "" && at.shard == m.Cursor.Shard && done {
				os.Stdout.WriteString("done " + id + "\n")
				delete(w.logged, at)
			}
		}
	}
}

func (w *witness) Put(
	ctx context.Context, leases []bus.Lease, marks []queue.Mark, entries ...queue.Entry,
) ([]queue.PutResult, error) {
	places, err := w.Store.Put(ctx, leases, marks, entries...)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, e := range entries {
		for _, d := range e.To {
			w.saw(d.Lane, places[n].Seq, e.Event.ID)
			n++
		}
		w.stored(place{bus.Shard(e.Event.Instance, w.Shards()), e.Position})
	}
	w.tell(marks)
	return places, nil
}

// stored notes that marks do not tell of an event.
func (w *witness) stored(at place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.logged[at] != "" {
		delete(w.logged, at)
	} else {
		w.logged[at] = ""
	}
}

func (w *witness) Checkpoint(ctx context.Context, leases []bus.Lease, marks ...queue.Mark) error {
	err := w.Store.Checkpoint(ctx, leases, marks...)
	if err == nil {
		w.tell(marks)
	}
	return err
}

func (w *witness) Window(ctx context.Context, l queue.LaneKey, after, until int64, limit, bytes int) ([]queue.Delivery, error) {
	items, err := w.Store.Window(ctx, l, after, until, limit, bytes)
	for _, item := range items {
		w.saw(l, item.Seq, item.Event.ID)
	}
	return items, err
}

func (w *witness) Record(ctx context.Context, l []bus.Lease, outcomes []queue.Result) error {
	err := w.Store.Record(ctx, l, outcomes)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range outcomes {
		if err == nil && o.Kind == queue.Delivered {
			os.Stdout.WriteString("done " + w.ids[o.Lane][o.Seq] + "\n")
			delete(w.ids[o.Lane], o.Seq)
		}
	}
	return err
}

// A watchedBus tells a witness where the log has each event.
type watchedBus struct {
	*sqlite.DB
	witness *witness
}

func (b watchedBus) Append(ctx context.Context, shard int, entries ...bus.Entry) ([]bus.Position, error) {
	positions, err := b.DB.Append(ctx, shard, entries...)
	for i, at := range positions {
		e, failed := bus.Event(entries[i].Message)
		if failed != nil {
			return positions, failed
		}
		b.witness.appended(place{shard, at}, e.ID)
	}
	return positions, err
}

// child is a whole evosink that emits events until it is killed, and tells of every one accepted: "pub <id>", and of
// every one delivered for good.
func child(path string) {
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	c := sqlite.DefaultConfig()
	c.Path = path
	db, err := sqlite.Open(ctx, c, zerolog.Nop())
	must(err)
	registry, err := instances.Open(ctx, db, "")
	must(err)
	for lane := range crashLanes {
		if _, ok := registry.Get(crashInstance(lane)); !ok {
			_, err := registry.Create(ctx, instances.Instance{Name: crashInstance(lane)}, "")
			must(err)
			_, err = registry.Set(ctx, crashInstance(lane), "hook", []byte(`{"enabled":true,"events":["ALL"]}`))
			must(err)
		}
	}
	hook := sink.Use(sink.Spec[struct{}]{
		Name: "hook", Mode: sink.Queued,
		Defaults: func() (c struct{}) { return c }, Enabled: func(*struct{}) bool { return true },
		Rule: func(*struct{}) sink.Rule { return sink.Rule{} },
		New:  func(struct{}, sink.Host) (sink.Sink, error) { return &poster{os.Getenv(childURL)}, nil },
	})
	o := core.Options{Bus: db, Instances: registry, Sinks: []*sink.Factory{hook}, Queue: db.Queue(), Logger: zerolog.Nop()}
	if os.Getenv(childDrain) == "" {
		w := newWitness(o.Queue)
		o.Bus, o.Queue = watchedBus{db, w}, w
	}
	hub, err := core.New(o)
	must(err)
	go func() { must(hub.Run(ctx)) }()
	<-hub.Started()
	fmt.Println("open")
	if os.Getenv(childDrain) == "" {
		for lane := range crashLanes {
			go emitUntilKilled(hub, crashInstance(lane), must)
		}
	}
	select {}
}

func emitUntilKilled(hub *core.Hub, instance string, must func(error)) {
	ticker := time.NewTicker(crashPause)
	for n := 0; ; n++ {
		e := &event.Event{
			ID: fmt.Sprintf("%s#%s#%d", instance, os.Getenv(childRound), n), Name: "messages.upsert", Instance: instance,
			Data: bytes.Repeat([]byte("1"), 1000),
		}
		must(hub.Emit(context.Background(), e))
		os.Stdout.WriteString("pub " + e.ID + "\n")
		<-ticker.C
	}
}

// An arrival is one delivery at the receiver.
type arrival struct {
	id    string
	round string // of the process that made it
}

// receiver is what the child delivers to.
type receiver struct {
	healed atomic.Bool // the dead and the slow are as good as the others

	mu  sync.Mutex
	got map[string][]arrival // by instance, in order
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	instance := strings.TrimPrefix(req.URL.Path, "/")
	var body bytes.Buffer
	body.ReadFrom(req.Body)
	if !r.healed.Load() {
		switch instance[:4] {
		case "dead":
			http.Error(w, "dead", http.StatusServiceUnavailable)
			return
		case "slow":
			select {
			case <-time.After(200 * time.Millisecond): // the point of this receiver
			case <-req.Context().Done():
				return
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got[instance] = append(r.got[instance], arrival{body.String(), req.Header.Get("Round")})
}

// has reports whether all of an instance's ids have arrived.
func (r *receiver) has(instance string, ids []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]bool{}
	for _, a := range r.got[instance] {
		seen[a.id] = true
	}
	for _, id := range ids {
		if !seen[id] {
			return false
		}
	}
	return true
}

// How many events a kill makes come twice is the disk's affair, and measured end to end (sinks/e2e). Here the rule
// behind it: only what was delivered by a killed process that had not written it down yet.
func TestKill9LosesNothingAndKeepsTheOrderOfEveryLane(t *testing.T) {
	rounds := 10
	if n, err := strconv.Atoi(os.Getenv(chaosRounds)); err == nil {
		rounds = n
	}
	path := filepath.Join(t.TempDir(), "evosink.db")
	r := &receiver{got: map[string][]arrival{}}
	server := httptest.NewServer(r)
	defer server.Close()
	accepted := map[string][]string{}
	written := map[string]string{} // by id, the round of the process that wrote it down as delivered
	for round := range rounds {
		v := startChild(t, path, server.URL, round, false)
		v.killAfter(time.Duration(300+rand.IntN(900))*time.Millisecond, func(what, id string) {
			instance, _, _ := strings.Cut(id, "#")
			switch what {
			case "pub":
				accepted[instance] = append(accepted[instance], id)
			case "done":
				written[id] = strconv.Itoa(round)
			}
		})
	}
	r.healed.Store(true)
	v := startChild(t, path, server.URL, rounds, true)
	total := 0
	for instance, ids := range accepted {
		total += len(ids)
		eventually(t, "all events of "+instance, func() bool { return r.has(instance, ids) })
	}
	v.killAfter(0, func(string, string) {}) // to its end, so that nothing arrives any more
	if len(written) == 0 {
		t.Error("nothing was written down as delivered")
	}
	r.check(t, total, written)
}

// check holds what arrived to the order of emission, and to have come again only where a process was killed before it
// could write it down.
func (r *receiver) check(t *testing.T, accepted int, written map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	twice, arrived := 0, 0
	for instance, arrivals := range r.got {
		last := [2]int{-1, -1}
		seen := map[string]string{} // in which round
		for _, a := range arrivals {
			arrived++
			if before, ok := seen[a.id]; ok {
				twice++
				if before == a.round || written[a.id] == before {
					t.Errorf("%s: %s arrived in rounds %s and %s, was written down in %s", instance, a.id, before, a.round, written[a.id])
				}
				seen[a.id] = a.round
				continue
			}
			seen[a.id] = a.round
			at := parse(t, a.id)
			if at[0] < last[0] || at[0] == last[0] && at[1] <= last[1] {
				t.Errorf("%s: %s arrived after %v", instance, a.id, last)
			}
			last = at
		}
	}
	t.Logf("%d events accepted, %d written down as delivered, %d arrived, %d of them twice (%.3f %%)",
		accepted, len(written), arrived, twice, 100*float64(twice)/float64(arrived))
}

func parse(t *testing.T, id string) (at [2]int) {
	parts := strings.Split(id, "#")
	for i := range at {
		n, err := strconv.Atoi(parts[i+1])
		if err != nil {
			t.Fatal(err)
		}
		at[i] = n
	}
	return at
}

// victim is a child process that is going to be killed.
type victim struct {
	cmd   *exec.Cmd
	open  chan struct{} // closed when it runs
	lines chan string   // what it has told; closed at its end
}

func startChild(t *testing.T, path, url string, round int, drain bool) *victim {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{cmd: exec.Command(self), open: make(chan struct{}), lines: make(chan string, 1<<16)}
	v.cmd.Env = append(os.Environ(), childFile+"="+path, childURL+"="+url, childRound+"="+strconv.Itoa(round))
	if drain {
		v.cmd.Env = append(v.cmd.Env, childDrain+"=1")
	}
	v.cmd.Stderr = os.Stderr
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(v.lines)
		defer close(ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			switch line := s.Text(); {
			case line == "open":
				close(v.open)
			case strings.HasPrefix(line, "error"):
				t.Error(line)
			default:
				v.lines <- line
			}
		}
	}()
	t.Cleanup(func() { v.killAfter(0, func(string, string) {}) })
	select {
	case <-v.open:
	case <-ended:
		t.Fatal("the child did not start")
	}
	return v
}

// killAfter kills the child after d, and passes on what it has told until then of which event. A last line that was cut
// off does not count.
func (v *victim) killAfter(d time.Duration, told func(what, id string)) {
	timer := time.AfterFunc(d, func() { v.cmd.Process.Kill() })
	defer timer.Stop()
	for line := range v.lines {
		if what, id, ok := strings.Cut(line, " "); ok && strings.Count(id, "#") == 2 {
			told(what, id)
		}
	}
	v.cmd.Wait()
}

// eventually polls a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
