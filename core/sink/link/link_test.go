package link_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A session that ends when its reason is told.
type session struct {
	end    chan error
	closed bool
}

func (s *session) Close() { s.closed = true }

// A broker is dialled by a link: each attempt takes a second and has the next of results.
type broker struct {
	results chan error
	dialled []time.Time
	current *session
	back    int // how often the link said that there is a session
}

func (b *broker) dial(ctx context.Context) (*session, error) {
	b.dialled = append(b.dialled, time.Now())
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := <-b.results; err != nil {
		return nil, err
	}
	b.current = &session{end: make(chan error, 1)}
	return b.current, nil
}

// start begins a link to a broker whose attempts have these results, and then fail for ever.
func start(t *testing.T, log io.Writer, results ...error) (*broker, *link.Link[*session]) {
	b := &broker{results: make(chan error, 1000)}
	for _, err := range results {
		b.results <- err
	}
	for len(b.results) < cap(b.results) {
		b.results <- errors.New("refused")
	}
	l := link.New(link.Options[*session]{
		Broker: "broker.example:1", Dial: b.dial, Limit: 2, Pause: 8 * time.Second, Logger: zerolog.New(log),
		Available: func() { b.back++ },
		Attend: func(ctx context.Context, s *session) error {
			select {
			case err := <-s.end:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	})
	l.Start(context.Background())
	return b, l
}

func TestAUseWaitsForTheFirstAttemptOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l := start(t, io.Discard, errors.New("refused"), nil)
		defer l.Close(t.Context())
		began := time.Now()
		if _, _, err := l.Borrow(t.Context()); !sink.IsUnavailable(err) || !strings.Contains(err.Error(), "refused") {
			t.Errorf("after a first attempt that failed: %v", err)
		}
		if d := time.Since(began); d != time.Second {
			t.Errorf("it took %v, want the attempt's second", d)
		}
		began = time.Now()
		if _, _, err := l.Borrow(t.Context()); !sink.IsUnavailable(err) || time.Since(began) != 0 {
			t.Errorf("while the broker is known to be away: %v after %v", err, time.Since(began))
		}
		time.Sleep(3 * time.Second)
		s, end, err := l.Borrow(t.Context())
		if err != nil || s == nil {
			t.Fatalf("connected: %v", err)
		}
		end()
		if since, last := l.History(); since.IsZero() || last == nil {
			t.Errorf("history: %v, %v", since, last)
		}
	})
}

func TestItNeverGivesUpAndPausesGrowToTheLongest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b, l := start(t, &log)
		time.Sleep(10 * time.Minute)
		l.Close(t.Context())
		if n := len(b.dialled); n < 60 || n > 150 { // pauses of 4 to 8 s, attempts of one
			t.Errorf("%d attempts in ten minutes", n)
		}
		for i := 1; i < len(b.dialled); i++ {
			gap, longest := b.dialled[i].Sub(b.dialled[i-1])-time.Second, min(500*time.Millisecond<<min(i-1, 20), 8*time.Second)
			if gap < longest/2 || gap > longest {
				t.Errorf("pause %d is %v, want %v to %v", i, gap, longest/2, longest)
			}
		}
		if n := strings.Count(log.String(), "not connected"); n != 1 {
			t.Errorf("one outage is in the log %d times", n)
		}
	})
}

func TestAfterALongSessionTheNextAttemptIsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := start(t, io.Discard, nil, nil, nil)
		defer l.Close(t.Context())
		time.Sleep(time.Minute)
		first, err := l.Session()
		if err != nil {
			t.Fatal(err)
		}
		first.end <- errors.New("reset")
		synctest.Wait()
		began := time.Now()
		s, end, err := l.Borrow(t.Context()) // waits for the attempt under way
		if err != nil || s == first || time.Since(began) != time.Second {
			t.Fatalf("after a long session: %v after %v", err, time.Since(began))
		}
		end()
		synctest.Wait()
		if b.back != 2 {
			t.Errorf("of two sessions the core was told %d times: what waits for the broker goes on waiting", b.back)
		}
		if !first.closed {
			t.Error("the session that ended was not closed")
		}
		s.end <- errors.New("reset at once")
		synctest.Wait()
		if _, _, err := l.Borrow(t.Context()); !sink.IsUnavailable(err) {
			t.Errorf("a broker that drops connections at once holds workers: %v", err)
		}
	})
}

func TestAnOutageIsOneLineAndItsEndTellsHowLongItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		var log bytes.Buffer
		b, l := start(t, &log, nil, refused, refused, refused, nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		b.current.end <- errors.New("reset")
		time.Sleep(time.Minute)
		l.Close(t.Context())
		var messages []string
		for text := range strings.Lines(log.String()) {
			var line struct{ Message, Away string }
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatal(err)
			}
			messages = append(messages, line.Message)
			if away, _ := time.ParseDuration(line.Away); len(messages) == 3 && (away < 4*time.Second ||
				away > time.Minute) {
				t.Errorf("after four attempts of a second each the line is %s", text)
			}
		}
		if len(messages) != 3 || messages[0] != "connected" || !strings.HasPrefix(messages[1], "not connected") ||
			messages[2] != "connected" {
			t.Errorf("the log has %q", messages)
		}
	})
}

func TestCloseWaitsForUsesUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, l := start(t, io.Discard, nil)
		_, end, err := l.Borrow(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan struct{})
		go func() { l.Close(context.Background()); close(closed) }()
		synctest.Wait()
		if b.current.closed {
			t.Error("the session was closed while it was in use")
		}
		end()
		<-closed
		if _, _, err := l.Borrow(t.Context()); !sink.IsUnavailable(err) {
			t.Errorf("after Close: %v", err)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Errorf("again: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b, l := start(t, io.Discard, nil)
		if _, _, err := l.Borrow(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l.Close(ctx)
		if !b.current.closed {
			t.Error("a use that does not end keeps the link open")
		}
	})
}

func TestUsesAreLimitedAndEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, l := start(t, io.Discard, nil)
		var ends []func()
		for range 2 {
			_, end, err := l.Borrow(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ends = append(ends, end)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := l.Borrow(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a third use of two: %v", err)
		}
		for _, end := range ends {
			end()
		}
		l.Close(t.Context())
	})
}

func TestAnUnstartedLinkClosesAndConnectsToNothing(t *testing.T) {
	l := link.New(link.Options[*session]{Broker: "b", Limit: 1})
	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := l.Session(); err == nil {
		t.Error("there is a session")
	}
}

// A peer that stops reading must not hold a writer for longer than it was given.
func TestAWriteThatIsNotReadEndsTheConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c, err := link.Dialer{Timeout: time.Minute, Write: 50 * time.Millisecond}.Dial(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for err == nil {
		_, err = c.Write(make([]byte, 1<<20))
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the reader does not learn of it: %v", err)
	}
}

func TestAHandshakeEndsWithItsContextAndAConnectionDoesNot(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, established := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		c, err := link.Dialer{Timeout: time.Minute, Write: time.Minute}.Dial(ctx, "tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if established {
			c.Established()
		}
		cancel()
		if established { // whatever the end of ctx starts has begun by then
			c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		}
		_, err = c.Read(make([]byte, 1))
		if closed := errors.Is(err, net.ErrClosed); closed == established {
			t.Errorf("established %t: %v", established, err)
		}
	}
}
