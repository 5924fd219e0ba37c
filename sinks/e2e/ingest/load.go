package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// patience is how long no event may arrive while some are missing, before they are given up.
	patience = 30 * time.Second
	// settling is how long evosink is left alone after the last arrival, to write down what came of it.
	settling = time.Second
)

// text fills an event's data, so that a POST has about 1 KiB.
var text = strings.Repeat("x", 960)

// A loader posts events to a subject.
type loader struct {
	subject   *subject
	ledger    *ledger
	instances int
	client    *http.Client

	mu sync.Mutex
	// mu guards the field below.
	refusal string // the last one
}

// newClient returns a client that keeps as many connections as it ever needed.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4096}, Timeout: 2 * patience}
}

// load gives the subject a load: one of the fixed rates, or behind them the maximum. It returns when all that was
// accepted has arrived, or nothing has for a while.
func (l *loader) load(ctx context.Context, o options, i int, title string) (w window, err error) {
	give := func(d time.Duration) { l.closedLoop(ctx, o.callers, d) }
	name := fmt.Sprint(o.callers, " callers")
	if i < len(o.rates) {
		give = func(d time.Duration) { l.openLoop(ctx, o.rates[i], d) }
		name = fmt.Sprint(o.rates[i], "/s")
		give(o.warmup)
		l.drain(ctx)
	}
	before, err := l.subject.usage()
	if err != nil {
		return w, err
	}
	fmt.Fprintf(os.Stderr, "%s: %s (process %d)\n", title, name, l.subject.cmd.Process.Pid)
	w.from, w.begun = l.ledger.sent(), time.Now()
	give(o.seconds)
	l.drain(ctx)
	w.to = l.ledger.sent()
	after, err := l.subject.usage()
	if err != nil {
		return w, err
	}
	w.took, w.used = time.Since(w.begun), after.since(before)
	if text := l.refused(); text != "" {
		fmt.Fprintf(os.Stderr, "%s: not accepted: %s\n", title, text)
	}
	return w, ctx.Err()
}

// openLoop posts events at a rate, each at its own time, whatever becomes of those before it.
func (l *loader) openLoop(ctx context.Context, rate int, d time.Duration) {
	var posts sync.WaitGroup
	defer posts.Wait()
	begin, pause := time.Now(), time.NewTimer(0)
	defer pause.Stop()
	for i := range int(d.Seconds() * float64(rate)) {
		pause.Reset(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate))))
		select {
		case <-pause.C:
			posts.Go(func() { l.post(ctx) })
		case <-ctx.Done():
			return
		}
	}
}

// closedLoop has callers each post the next event when the last one is answered.
func (l *loader) closedLoop(ctx context.Context, callers int, d time.Duration) {
	var posts sync.WaitGroup
	end := time.Now().Add(d)
	for range callers {
		posts.Go(func() {
			for ctx.Err() == nil && time.Now().Before(end) {
				l.post(ctx)
			}
		})
	}
	posts.Wait()
}

// post posts one event, to the instances in turn.
func (l *loader) post(ctx context.Context) {
	n := l.ledger.begin()
	body := fmt.Sprintf(`{"event":"messages.upsert","data":{"n":%d,"text":"%s"}}`, n, text)
	url := l.subject.url + "/events/" + instance(n%l.instances)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		l.refuse(err.Error())
		return
	}
	r.Header.Set("apikey", key)
	answer, err := l.client.Do(r)
	if err != nil {
		l.refuse(err.Error())
		return
	}
	said, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close() // read to its end
	if err != nil || answer.StatusCode != http.StatusCreated {
		l.refuse(fmt.Sprint(answer.Status, " ", string(said), err))
		return
	}
	l.ledger.accept(n)
}

// drain waits until all that was accepted has arrived, and what came of it is written down.
func (l *loader) drain(ctx context.Context) {
	for begin := time.Now(); ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		missing, last := l.ledger.backlog()
		if missing == 0 || time.Since(latest(begin, last)) > patience {
			break
		}
	}
	select {
	case <-time.After(settling):
	case <-ctx.Done():
	}
}

func (l *loader) refuse(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusal = text
}

// refused returns the last refusal since it was asked before.
func (l *loader) refused() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.refusal
	l.refusal = ""
	return text
}
