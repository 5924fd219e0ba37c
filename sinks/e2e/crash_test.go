package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A producer posts numbered events of one instance, one after the other, and remembers which were accepted.
type producer struct {
	instance string
	next     int
	accepted []int
	cut      int // posts that a crash has left without an answer
}

// post sends the next event. An event that was not accepted may have been stored or not; it is never sent again.
func (p *producer) post(client *http.Client, url string) {
	body := fmt.Sprintf(`{"event":"messages.upsert","data":{"n":%d}}`, p.next)
	r, _ := http.NewRequest("POST", url+"/events/"+p.instance, strings.NewReader(body))
	r.Header.Set("apikey", key)
	n := p.next
	p.next++
	answer, err := client.Do(r)
	if err != nil {
		if !errors.Is(err, syscall.ECONNREFUSED) {
			p.cut++
		}
		return
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	if answer.StatusCode == http.StatusCreated {
		p.accepted = append(p.accepted, n)
	}
}

// produce has every producer post at the rate given, in events per second of all, until stop is closed.
func produce(url string, producers []*producer, rate int, stop <-chan struct{}) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: len(producers)}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for _, p := range producers {
		wg.Go(func() {
			tick := time.NewTicker(time.Second * time.Duration(len(producers)) / time.Duration(rate))
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					p.post(client, url)
				}
			}
		})
	}
	wg.Wait()
}

func TestNothingAcceptedIsLostByKill9(t *testing.T) {
	dir := t.TempDir()
	env := []string{"WEBSOCKET_ENABLED=true", "WEBSOCKET_GLOBAL_EVENTS=true"}
	p := launch(t, dir, env...)
	var first struct{ ID string }
	if err := json.Unmarshal([]byte(p.must(201, "POST", "/events/marker", `{"event":"marker"}`)), &first); err != nil {
		t.Fatal(err)
	}
	var producers []*producer
	for i := range 20 {
		producers = append(producers, &producer{instance: "instance " + strconv.Itoa(i)})
	}
	for range 3 {
		stop, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			produce(p.url, producers, 1000, stop)
		}()
		time.Sleep(time.Second + rand.N(time.Second)) // the moment of the crash, not a synchronisation
		p.kill()
		close(stop)
		<-ended
		p = launch(t, dir, env...)
	}
	p.must(201, "POST", "/events/marker", `{"event":"marker.end"}`)
	total := checkAll(t, p.listen(`{"since":"`+first.ID+`"}`), producers)
	t.Logf("%d events accepted, all there and in order after 3 crashes", total)
}

// checkAll reads every event until marker.end comes, and holds them against what the producers know.
func checkAll(t *testing.T, l *listener, producers []*producer) (accepted int) {
	t.Helper()
	got := map[string][]int{}
	for _, p := range producers {
		accepted += len(p.accepted)
	}
	for {
		e, ok := l.next(30 * time.Second)
		if !ok {
			t.Fatal("events of the log do not come any more, and the last one is missing")
		}
		if e.Event == "marker.end" {
			break
		}
		if e.Event != "messages.upsert" {
			continue
		}
		var data struct{ N int }
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		got[e.Instance] = append(got[e.Instance], data.N)
	}
	for _, p := range producers {
		check(t, p, got[p.instance])
	}
	return accepted
}

// check reports what of a producer's events is lost, doubled or out of order.
func check(t *testing.T, p *producer, got []int) {
	t.Helper()
	there := map[int]bool{}
	for i, n := range got {
		if i > 0 && n <= got[i-1] {
			t.Errorf("%s: %d came after %d", p.instance, n, got[i-1])
		}
		there[n] = true
	}
	for _, n := range p.accepted {
		if !there[n] {
			t.Errorf("%s: %d was accepted and is lost", p.instance, n)
		}
	}
}

func TestTerminationAnswersWhatIsUnderWay(t *testing.T) {
	p := launch(t, t.TempDir(), "WEBSOCKET_ENABLED=true", "WEBSOCKET_GLOBAL_EVENTS=true")
	l := p.listen("")
	p.must(201, "POST", "/events/sales", `{"event":"messages.upsert"}`)
	if code := p.terminate(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.output())
	}
	if _, ok := l.next(time.Second); !ok {
		t.Error("the event did not reach the client")
	}
}

func TestTheExampleEnvironmentIsUpToDate(t *testing.T) {
	out, err := command(t, t.TempDir(), "config", "env").Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join("..", "..", ".env.example")
	if *update {
		if err := os.WriteFile(file, out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(out) != string(want) {
		t.Error(".env.example is stale: go test ./sinks/e2e -run Example -update")
	}
}
