package webhook_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/webhook"
)

// outcome is what an error tells the queue, in a word.
func outcome(err error) string {
	wait, after := sink.AfterOf(err)
	switch {
	case err == nil:
		return "done"
	case sink.IsPermanent(err):
		return "permanent"
	case sink.IsUnavailable(err):
		return "unavailable"
	case after:
		return "after " + wait.String()
	}
	return "retry"
}

func TestAnswersAndWhatTheyMean(t *testing.T) {
	for _, c := range []struct {
		status int
		header string // of Retry-After
		want   string
	}{
		{200, "", "done"}, {201, "", "done"}, {202, "5", "done"}, {204, "", "done"}, {299, "", "done"},
		{300, "", "permanent"}, {304, "", "permanent"},
		{400, "", "permanent"}, {401, "", "permanent"}, {403, "", "permanent"}, {404, "", "permanent"}, {422, "", "permanent"},
		{410, "", "permanent"},
		{405, "", "permanent"}, {411, "", "permanent"}, {413, "", "permanent"}, {414, "", "permanent"}, {415, "", "permanent"}, {431, "", "permanent"},
		{501, "", "permanent"}, {505, "", "permanent"}, {413, "30", "after 30s"}, {501, "30", "permanent"},
		{402, "", "retry"}, {408, "", "retry"}, {409, "", "retry"}, {418, "", "retry"}, {425, "", "retry"},
		{429, "", "retry"}, {429, "7", "after 7s"}, {429, "0", "after 0s"}, {429, "soon", "retry"}, {429, "-3", "retry"}, {429, "1.5", "retry"},
		{429, at.Add(90 * time.Second).Format(http.TimeFormat), "after 1m29s"}, // whole seconds, from .512
		{429, at.Add(-time.Hour).Format(http.TimeFormat), "after 0s"},
		{429, "99999999999999999999", "after 24h0m0s"},
		{503, "120", "after 2m0s"}, {503, "", "unavailable"}, {503, "x", "unavailable"},
		{500, "", "retry"}, {500, "9", "retry"}, {502, "", "retry"}, {504, "", "retry"}, {599, "", "retry"}, {999, "", "retry"},
	} {
		r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
			if c.header != "" {
				w.Header().Set("Retry-After", c.header)
			}
			w.WriteHeader(c.status)
			if c.status != 204 && c.status != 304 {
				fmt.Fprint(w, "the payload, repeated")
			}
		})
		err := open(t).Deliver(t.Context(), delivery("instance", settingsFor(r.URL, "")))
		got := outcome(err)
		if strings.HasPrefix(got, "after 1m29.") {
			got = "after 1m29s"
		}
		if got != c.want {
			t.Errorf("%d with Retry-After %q: %s (%v), want %s", c.status, c.header, got, err, c.want)
		}
		if err != nil && (!strings.Contains(err.Error(), fmt.Sprint(c.status)) || strings.Contains(err.Error(), "payload")) {
			t.Errorf("%d: the text %q must name the status and nothing of the body", c.status, err)
		}
	}
}

func TestTheCodesThatAreNotRetriedCanBeChosen(t *testing.T) {
	for _, c := range []struct {
		codes []int
		want  map[int]string
	}{
		{nil, map[int]string{404: "retry", 410: "permanent"}},
		{[]int{0}, map[int]string{404: "retry"}}, // what Evolution API makes of an empty variable
		{[]int{413, 429}, map[int]string{413: "permanent", 429: "permanent", 400: "retry"}},
	} {
		for status, want := range c.want {
			r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
			s := open(t, func(cfg *webhook.Config) { cfg.Retry.NonRetryable = c.codes })
			if err := s.Deliver(t.Context(), delivery("instance", settingsFor(r.URL, ""))); outcome(err) != want {
				t.Errorf("%v: %d is %s, want %s", c.codes, status, outcome(err), want)
			}
		}
	}
}

func TestTheAnswerIsReportedWhetherItIsASuccessOrNot(t *testing.T) {
	for _, status := range []int{200, 500} {
		r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			w.Write(bytes.Repeat([]byte("x"), 5000))
		})
		ctx, answer := sink.WithReports(t.Context())
		_ = open(t).Deliver(ctx, delivery("instance", settingsFor(r.URL, "")))
		if a := answer(); a == nil || a.Status != fmt.Sprint(status, " ", http.StatusText(status)) || len(a.Head) != sink.MaxAnswerHead {
			t.Errorf("%d: reported %+v", status, a)
		}
	}
}

// listen serves each connection with answer, which gets it after the request's header has been read.
func listen(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				answer(conn)
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

// reset closes a connection so that the peer sees a reset.
func reset(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }

func TestConnectionsThatBreak(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(net.Conn)
		want   string
	}{
		"closed without an answer": {func(net.Conn) {}, "retry"},
		"reset without an answer":  {reset, "retry"},
		"reset inside the header": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Le")
			reset(c)
		}, "retry"},
		"closed inside the body of a success": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
		}, "done"},
		"reset inside the body of a failure": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\nhalf")
			reset(c)
		}, "retry"},
		"garbage":               {func(c net.Conn) { io.WriteString(c, "\x00\xffSSH-2.0-what\r\n\r\n") }, "retry"},
		"a status out of range": {func(c net.Conn) { io.WriteString(c, "HTTP/1.1 -12 X\r\n\r\n") }, "retry"},
		"a header without an end": {func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for range 100 {
				if _, err := io.WriteString(c, "X: "+strings.Repeat("y", 4000)+"\r\n"); err != nil {
					return
				}
			}
		}, "retry"},
	} {
		url := listen(t, c.answer)
		err := open(t).Deliver(t.Context(), delivery("instance", settingsFor(url+"/?token=hunter2", "")))
		if outcome(err) != c.want || err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestReceiversThatCannotBeReachedAreUnavailable(t *testing.T) {
	const unused = "127.0.0.1:1" // a port that the system gives to no process that asks for any port
	plain := newReceiver(t, nil)
	unknown := unstarted(nil)
	unknown.Config.ErrorLog = quiet
	unknown.StartTLS()
	t.Cleanup(unknown.Close)
	for url, says := range map[string]string{
		"http://" + unused:                                 "refused",
		"http://name.invalid/":                             "name.invalid",
		strings.Replace(plain.URL, "http", "https", 1):     "does not look like a TLS handshake",
		strings.Replace(unknown.URL, "http:", "https:", 1): "certificate",
	} {
		s := open(t, func(c *webhook.Config) { c.SetResolver(resolver(nil)) })
		err := s.Deliver(t.Context(), delivery("instance", settingsFor(url+"?token=hunter2", "")))
		wantText(t, err, "connect to ", says)
		if outcome(err) != "unavailable" || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v is %s", url, err, outcome(err))
		}
	}
}

func TestAReceiverThatNeverAnswers(t *testing.T) {
	r := newReceiver(t, func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
	s := open(t, func(c *webhook.Config) { c.RequestTimeout = 3 * time.Second }) // ample to connect in
	err := s.Deliver(t.Context(), delivery("instance", settingsFor(r.URL, "")))
	wantText(t, err, "post to "+r.Listener.Addr().String()+": no answer in time")
	if outcome(err) != "retry" {
		t.Errorf("%v is %s", err, outcome(err))
	}
}

func TestAReceiverThatNeverFinishesTheHandshake(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // the kernel accepts; no answer ever comes
	s := open(t, func(c *webhook.Config) { c.RequestTimeout = 50 * time.Millisecond })
	err = s.Deliver(t.Context(), delivery("instance", settingsFor("https://"+l.Addr().String(), "")))
	wantText(t, err, "connect to ", "no answer in time")
	if outcome(err) != "unavailable" {
		t.Errorf("%v is %s", err, outcome(err))
	}
}

func TestASlowReceiverIsWaitedFor(t *testing.T) {
	answer := make(chan struct{})
	r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusProcessing)
		<-answer
	})
	time.AfterFunc(50*time.Millisecond, func() { close(answer) })
	if err := open(t).Deliver(t.Context(), delivery("instance", settingsFor(r.URL, ""))); err != nil {
		t.Error(err)
	}
}

func TestABodyThatNeverEndsChangesNothing(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"it stalls": func(w http.ResponseWriter, req *http.Request) {
			w.(http.Flusher).Flush()
			<-req.Context().Done()
		},
		"it goes on": func(w http.ResponseWriter, _ *http.Request) {
			for chunk := make([]byte, 64<<10); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		},
		"it has 10 MB": func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 10<<20)) },
		"it says it is compressed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, "not at all")
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, answer)
			if err := open(t).Deliver(t.Context(), delivery("instance", settingsFor(r.URL, ""))); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestConnectionsAreKept(t *testing.T) {
	connections := map[string]bool{}
	r := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
		connections[req.RemoteAddr] = true // one delivery after the other
		w.WriteHeader(http.StatusInternalServerError)
		w.Write(make([]byte, 20<<10))
	})
	s := open(t)
	for range 20 {
		_ = s.Deliver(t.Context(), delivery("instance", settingsFor(r.URL, "")))
	}
	if len(connections) != 1 {
		t.Errorf("%d connections for 20 deliveries, want 1", len(connections))
	}
}

func TestABodyAboveTheLimitIsPermanent(t *testing.T) {
	r := newReceiver(t, nil)
	s := open(t, func(c *webhook.Config) { c.MaxBodyBytes = 100 })
	err := s.Deliver(t.Context(), delivery("instance", settingsFor(r.URL, "")))
	wantText(t, err, "max_body_bytes is 100")
	if outcome(err) != "permanent" || len(r.requests()) > 0 {
		t.Errorf("%v after %d requests", err, len(r.requests()))
	}
}

func TestAnIDThatCannotBeAHeaderIsPermanent(t *testing.T) {
	d := delivery("instance", settingsFor("http://127.0.0.1:1", ""))
	d.Event.ID = "a\r\nX-Evil: 1"
	if err := open(t).Deliver(t.Context(), d); outcome(err) != "permanent" {
		t.Errorf("got %v", err)
	}
}

func TestACancelledDeliveryBlamesNobody(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := open(t).Deliver(ctx, delivery("instance", settingsFor("http://127.0.0.1:1", ""))); outcome(err) != "retry" {
		t.Errorf("%v is %s, want a plain error", err, outcome(err))
	}
}

// After 101 Switching Protocols, net/http hands over the bare connection as the body, which no time-out of the request
// closes.
func TestAnswersThatAreNeverOverDoNotHoldTheirAttempts(t *testing.T) {
	const attempts = 32 // as many as the queue makes at once
	for name, answer := range map[string]string{
		"101":                 "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: anything\r\n\r\n",
		"101 without upgrade": "HTTP/1.1 101 Switching Protocols\r\n\r\nand more",
		"200, half a body":    "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
		"200, half a chunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nha",
		"200, half a trailer": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n0\r\nX: ",
		"200, until the end":  "HTTP/1.1 200 OK\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			over := make(chan struct{})
			url := listenAll(t, func(c net.Conn) {
				io.WriteString(c, answer)
				<-over
			})
			defer close(over)
			s := open(t)
			results := make(chan error, attempts)
			for range attempts {
				go func() { results <- s.Deliver(context.Background(), delivery("instance", settingsFor(url, ""))) }()
			}
			deadline := time.After(25 * time.Second) // below the time-out of an attempt
			for i := range attempts {
				select {
				case err := <-results:
					if want := map[bool]string{true: "retry", false: "done"}[strings.HasPrefix(name, "101")]; outcome(err) != want {
						t.Errorf("%v, want %s", err, want)
					}
				case <-deadline:
					t.Fatalf("%d of %d attempts are held", attempts-i, attempts)
				}
			}
		})
	}
}

// listenAll is listen for connections that are open at once: answer may block until the test ends.
func listenAll(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					answer(conn)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return "http://" + l.Addr().String()
}
