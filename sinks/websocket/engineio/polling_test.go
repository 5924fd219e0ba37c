package engineio_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

func TestAPollWaitsAndTakesEverythingBuffered(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	answers := p.later(t, app)
	nothing(t, answers, "an answer")
	app.Send(text("one"))
	receive(t, answers, "the answer").want(t, 200, "4one")
	app.Send(text("two"), blob("\x01\x02\x03\x04"))
	app.SendBatch(engineio.NewBatch(text("three €")))
	p.get(t).want(t, 200, "4two\x1ebAQIDBA==\x1e4three €")
}

func TestAPollTakesSixteenPacketsAtMostForThePythonClient(t *testing.T) {
	tests := []struct {
		agent string
		polls []int // packets in each
	}{
		{"python-requests/2.32.3", []int{16, 4}},
		{"Python/3.13 aiohttp/3.11.16", []int{16, 4}},
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", []int{20}},
		{"", []int{20}},
	}
	for _, test := range tests {
		t.Run(test.agent, func(t *testing.T) {
			s := open(t, nil)
			p, app := s.poll(t)
			var want []string
			for i := range 20 {
				app.Send(text(fmt.Sprint(i)))
				want = append(want, fmt.Sprint("4", i))
			}
			for _, n := range test.polls {
				s.ask(t, "GET", p.query, "", "User-Agent", test.agent).want(t, 200, strings.Join(want[:n], "\x1e"))
				want = want[n:]
			}
		})
	}
}

func TestAPingDoesNotWaitForMessagesThatAreLeft(t *testing.T) {
	inBubble(t, func(c *engineio.Config) { c.PingInterval = time.Second }, func(t *testing.T, s *site) {
		p, app := s.poll(t)
		for i := range 20 {
			app.Send(text(fmt.Sprint(i)))
		}
		time.Sleep(time.Second + time.Millisecond)
		python := []string{"User-Agent", "python-requests/2.32.3"}
		s.ask(t, "GET", p.query, "", python...).want(t, 200, "2\x1e40\x1e41\x1e42\x1e43\x1e44\x1e45\x1e46\x1e47\x1e48\x1e49\x1e410\x1e411\x1e412\x1e413\x1e414")
		s.ask(t, "GET", p.query, "", python...).want(t, 200, "415\x1e416\x1e417\x1e418\x1e419")
	})
}

func TestAPostDeliversItsPacketsInOrder(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	a := p.post(t, "4one\x1ebAQIDBA==\x1e4\x1eb\x1e4\u2028\x00😀")
	a.want(t, 200, "ok")
	if got := a.header.Get("Content-Type"); got != "text/html" {
		t.Errorf("Content-Type is %q", got)
	}
	app.wantText(t, "one")
	app.wantBinary(t, "\x01\x02\x03\x04")
	app.wantText(t, "")
	app.wantBinary(t, "")
	app.wantText(t, "\u2028\x00😀")
}

func TestWhatIsOnItsWayToAPollIsNotLostWhenItsClientEndsTheSession(t *testing.T) {
	s := open(t, echoing)
	for body, status := range map[string]int{"4a\x1e1\x1e4b": 200, "4a\x1e": 400, "4a\x1e2": 200} {
		p, app := s.poll(t)
		answers := p.later(t, app)
		if got := p.post(t, body).status; got != status {
			t.Errorf("%q: answered with %d, want %d", body, got, status)
		}
		receive(t, answers, "the pending poll's answer").want(t, 200, "4a")
		p.get(t).want(t, 400, refused(1))
	}
}

// A handler that ends its session at the first message.
type ender struct{ *engineio.Session }

func (e ender) Message(engineio.Message)    { e.Close(engineio.ReasonForcedClose) }
func (ender) Closed(engineio.Reason, error) {}

func TestAPostIsAnsweredAlsoIfTheHandlerEndsTheSession(t *testing.T) {
	s := open(t, func(c *engineio.Config) {
		accept := c.Accept
		c.Accept = func(s *engineio.Session, r *http.Request) engineio.Handler {
			accept(s, r)
			return ender{s}
		}
	})
	p, app := s.poll(t)
	answers := p.later(t, app)
	p.post(t, "4wrong\x1e3\x1e4x").want(t, 200, "ok")
	receive(t, answers, "the pending poll's answer").want(t, 200, "1")
}

func TestAPostIsAnsweredWhileAPollPends(t *testing.T) {
	s := open(t, echoing)
	p, app := s.poll(t)
	answers := p.later(t, app)
	p.post(t, "4hello").want(t, 200, "ok")
	receive(t, answers, "the answer").want(t, 200, "4hello")
}

// A slow reader of bytes, one at a time.
type slowly struct{ io.Reader }

func (s slowly) Read(p []byte) (int, error) { return s.Reader.Read(p[:min(len(p), 1)]) }

func TestBodiesMayBeChunkedAnywhere(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	body := "4€uro 😀"
	a, err := s.try("POST", p.query, slowly{strings.NewReader(body)}) // of unknown length, hence chunked
	if err != nil {
		t.Fatal(err)
	}
	a.want(t, 200, "ok")
	app.wantText(t, body[1:])
}

func TestInvalidUTF8InABodyIsReplaced(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	p.post(t, "4a\xffb")
	app.wantText(t, "a\uFFFDb")
}

func TestABadPayloadEndsTheSessionWithParseError(t *testing.T) {
	for _, body := range []string{"", "abc", "4a\x1e", "\x1e4a", "4a\x1e\x1e4b", "7x", "b!!"} {
		t.Run(fmt.Sprintf("%q", body), func(t *testing.T) {
			s := open(t, nil)
			p, app := s.poll(t)
			answers := p.later(t, app)
			p.post(t, body).want(t, 400, refused(3))
			app.wantClosed(t, engineio.ReasonParseError)
			receive(t, answers, "the pending poll's answer").want(t, 200, "1")
			p.get(t).want(t, 400, refused(1))
		})
	}
}

func TestASecondPollEndsTheSession(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	answers := p.later(t, app)
	p.get(t).want(t, 400, refused(3))
	receive(t, answers, "the first poll's answer").want(t, 200, "1")
	app.wantClosed(t, engineio.ReasonTransportError)
	p.get(t).want(t, 400, refused(1))
}

// halfPost sends a request that announces more of its body than it sends.
func (p *poller) halfPost(t testing.TB, headers string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.site.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "POST /?%s HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n%s\r\n4half", p.query, headers)
	return conn
}

func TestASecondPostEndsTheSessionAndCutsTheFirst(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	first := p.halfPost(t, "")
	// Which of the two comes to be the second is the server's to say.
	until(t, func() bool { return p.post(t, "4b").status == 400 }, "the refusal")
	if _, err := io.Copy(io.Discard, first); err != nil {
		t.Errorf("the first POST's connection: %v", err)
	}
	app.wantClosed(t, engineio.ReasonTransportError)
}

func TestAPostCutInItsBodyEndsTheSession(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	p.halfPost(t, "").Close()
	app.wantClosed(t, engineio.ReasonTransportError)
	nothing(t, app.messages, "half a message")
}

func TestAPollThatIsAbortedEndsTheSession(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	conn, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /?%s HTTP/1.1\r\nHost: test\r\n\r\n", p.query)
	until(t, app.Writable, "a pending poll")
	conn.Close()
	app.wantClosed(t, engineio.ReasonTransportError)
}

func TestAPollOfAClientThatHasStoppedSendingEndsTheSession(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	conn, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /?%s HTTP/1.1\r\nHost: test\r\n\r\n", p.query)
	until(t, app.Writable, "a pending poll")
	conn.(*net.TCPConn).CloseWrite()
	app.wantClosed(t, engineio.ReasonTransportError)
	conn.SetDeadline(time.Now().Add(patience))
	if answer, err := io.ReadAll(conn); len(answer) > 0 || err != nil {
		t.Errorf("answered with %q, %v", answer, err)
	}
}

func TestAPollWithABodyThatIsAbortedEndsTheSession(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	conn, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET /?%s HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc", p.query)
	until(t, app.Writable, "a pending poll")
	conn.Close()
	app.wantClosed(t, engineio.ReasonTransportError)
}

// CVE-2026-59725: binary bodies, which revision 4 does not have, were read and
// never released.
func TestABinaryBodyIsRefusedUnread(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	conn := p.halfPost(t, "Content-Type: application/octet-stream\r\n")
	answer := make([]byte, len("HTTP/1.1 400"))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 400" {
		t.Errorf("answered with %q, %v", answer, err)
	}
	app.wantClosed(t, engineio.ReasonTransportError)
}

func TestABodyOverTheLimitIsRefusedAndTheSessionGoesOn(t *testing.T) {
	s := open(t, func(c *engineio.Config) { c.MaxPayload = 1000 })
	p, app := s.poll(t)
	fits, over := "4"+strings.Repeat("é", 499)+"x", "4"+strings.Repeat("é", 500)
	p.post(t, over).want(t, http.StatusRequestEntityTooLarge, "")
	a, err := s.try("POST", p.query, slowly{strings.NewReader(over)})
	if err != nil {
		t.Fatal(err)
	}
	a.want(t, http.StatusRequestEntityTooLarge, "")
	p.post(t, fits).want(t, 200, "ok")
	app.wantText(t, fits[1:])
	nothing(t, app.messages, "a message too large")
}

func TestAnAnnouncedLengthIsNotBelieved(t *testing.T) {
	s := open(t, nil)
	p, _ := s.poll(t)
	conn, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "POST /?%s HTTP/1.1\r\nHost: test\r\nContent-Length: 9000000000000000000\r\n\r\n4a", p.query)
	answer := make([]byte, len("HTTP/1.1 413"))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 413" {
		t.Errorf("answered with %q, %v", answer, err)
	}
}

func TestTheClientsClosePacketReleasesThePollAndEndsTheSession(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	answers := p.later(t, app)
	p.post(t, "4last\x1e1\x1e4ignored").want(t, 200, "ok")
	receive(t, answers, "the pending poll's answer").want(t, 200, "6")
	app.wantText(t, "last")
	app.wantClosed(t, engineio.ReasonTransportClose)
	nothing(t, app.messages, "a message behind the close packet")
	p.get(t).want(t, 400, refused(1))
	p.post(t, "4x").want(t, 400, refused(1))
}

func TestAPollThatTheClientsClosePacketOvertookIsReleased(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		start := time.Now()
		p, app := s.poll(t)
		posted := make(chan answer, 1)
		go func() { posted <- p.post(t, "1") }()
		app.wantClosed(t, engineio.ReasonTransportClose)
		at(t, start, 0)
		p.get(t).want(t, 200, "6")
		p.get(t).want(t, 400, refused(1))
		receive(t, posted, "the POST's answer").want(t, 200, "ok")
	})
}

func TestNothingIsLeftOfASessionThatItsClientHasClosed(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		p, app := s.poll(t)
		p.post(t, "4x\x1e1").want(t, 200, "ok")
		app.wantClosed(t, engineio.ReasonTransportClose)
		p.get(t).want(t, 400, refused(1))
	})
}

func TestClosingASessionAnswersItsPoll(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	answers := p.later(t, app)
	app.Close(engineio.ReasonForcedClose)
	app.Close(engineio.ReasonShutdown) // changes nothing
	receive(t, answers, "the pending poll's answer").want(t, 200, "1")
	app.wantClosed(t, engineio.ReasonForcedClose)
	p.get(t).want(t, 400, refused(1))
}

func TestClosingASessionKeepsItsFarewellForTheNextPoll(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	app.Send(text("last words"))
	app.Close(engineio.ReasonForcedClose)
	app.wantClosed(t, engineio.ReasonForcedClose)
	if s.Sessions() != 0 {
		t.Errorf("%d sessions", s.Sessions())
	}
	p.post(t, "4too late").want(t, 200, "ok") // an error would be the first that its client hears
	p.get(t).want(t, 200, "4last words")
	p.get(t).want(t, 200, "1")
	p.get(t).want(t, 400, refused(1))
	nothing(t, app.messages, "a message after the end")
}

func TestALongFarewellTakesSeveralPolls(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	for range 16 {
		app.Send(text("x"))
	}
	app.Close(engineio.ReasonForcedClose)
	python := []string{"User-Agent", "python-requests/2.32.3"}
	s.ask(t, "GET", p.query, "", python...).want(t, 200, strings.TrimSuffix(strings.Repeat("4x\x1e", 16), "\x1e"))
	s.ask(t, "GET", p.query, "", python...).want(t, 200, "1")
}

func TestPayloadsAreCompressedIfLargeAndAccepted(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	large := strings.Repeat("a", 1023)
	tests := []struct{ accept, message, encoding string }{
		{"gzip", large, "gzip"},
		{"deflate", large, "deflate"},
		{"deflate, gzip", large, "gzip"},
		{"gzip;q=0.1, deflate;q=0.9", large, "deflate"},
		{"*", large, "gzip"},
		{"gzip;q=0", large, ""},
		{"gzip;q=0, *", large, "deflate"},
		{"*, gzip;q=0", large, "deflate"},
		{"gzip;q=0, deflate;q=0, *", large, ""},
		{"deflate, *;q=0.5", large, "deflate"},
		{"br", large, ""},
		{"", large, ""},
		{"gzip;q=x", large, ""},
		{"gzip", large[1:], ""},
	}
	for _, test := range tests {
		t.Run(test.accept+" "+test.encoding, func(t *testing.T) {
			app.Send(text(test.message))
			a := s.ask(t, "GET", p.query, "", "Accept-Encoding", test.accept)
			if got := a.header.Get("Content-Encoding"); got != test.encoding {
				t.Fatalf("Content-Encoding is %q, want %q", got, test.encoding)
			}
			if got := decompress(t, a.body, test.encoding); got != "4"+test.message {
				t.Errorf("payload is %s", shorten(got))
			}
		})
	}
}

func decompress(t *testing.T, body, encoding string) string {
	t.Helper()
	var r io.Reader = strings.NewReader(body)
	var err error
	switch encoding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "deflate":
		r, err = zlib.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAConnectionStaysUsableAfterRefusals(t *testing.T) {
	s := open(t, func(c *engineio.Config) { c.MaxPayload = 1000 })
	p, _ := s.poll(t)
	conn, err := net.Dial("tcp", s.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		if conn == nil {
			return nil, errors.New("the connection was not kept")
		}
		c := conn
		conn = nil
		return c, nil
	}}}
	defer client.CloseIdleConnections()
	for _, request := range []struct {
		query  string
		body   int
		status int
	}{
		{pollingQuery + "&sid=x", 1000, 400},
		{p.query, 1_000_000, 413},
		{pollingQuery, 600_000, 400},
		{p.query, 1, 200},
	} {
		response, err := client.Post(s.http.URL+"/?"+request.query, "text/plain", bytes.NewReader(bytes.Repeat([]byte("4"), request.body)))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.StatusCode != request.status {
			t.Errorf("POST %s of %d bytes is answered with %s", request.query, request.body, response.Status)
		}
	}
}

func TestAPostMayFollowTheAnswerToTheOneBefore(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	for i := range 500 {
		p.post(t, fmt.Sprint("4", i)).want(t, 200, "ok")
		app.wantText(t, fmt.Sprint(i))
	}
}

func TestVolatileMessagesNeedAPendingPoll(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	if app.SendVolatile(text("lost")) {
		t.Error("sent without a poll")
	}
	answers := p.later(t, app)
	if !app.SendVolatile(text("seen")) {
		t.Error("not sent in spite of a poll")
	}
	receive(t, answers, "the answer").want(t, 200, "4seen")
}

// CVE-2020-36048: payloads of very many tiny packets.
func TestAPayloadOfVeryManyPacketsIsRead(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	p.post(t, strings.Repeat("4\x1e", 50_000)+"4end").want(t, 200, "ok")
	for range 50_000 {
		app.wantText(t, "")
	}
	app.wantText(t, "end")
}

func TestAClientThatDoesNotPollCostsABoundedQueue(t *testing.T) {
	s := open(t, func(c *engineio.Config) { c.MaxQueueBytes = 10_000 })
	_, app := s.poll(t)
	large := text(strings.Repeat("x", 20_000))
	if err := app.Send(large); err != nil {
		t.Fatal("the first message must fit: ", err)
	}
	fits := 0
	for app.Send(text(strings.Repeat("x", 1000))) == nil {
		fits++
	}
	if fits != 9 { // with 64 bytes of overhead each, and the first not counted
		t.Errorf("%d more messages fit", fits)
	}
	app.wantClosed(t, engineio.ReasonSlowClient)
}

func TestALargeFirstMessageDoesNotCountOnceItIsFetched(t *testing.T) {
	inBubble(t, func(c *engineio.Config) { c.MaxQueueBytes, c.PingInterval = 10_000, time.Second }, func(t *testing.T, s *site) {
		p, app := s.poll(t)
		app.Send(text(strings.Repeat("x", 20_000)))
		p.get(t)
		time.Sleep(time.Second + time.Millisecond) // a ping is what waits first now
		fits := 0
		for app.Send(text(strings.Repeat("x", 1000))) == nil {
			fits++
		}
		if fits != 9 {
			t.Errorf("%d messages fit", fits)
		}
	})
}

func TestAwaitPacesASenderByItsPoll(t *testing.T) {
	s := open(t, func(c *engineio.Config) { c.MaxQueueBytes = 10_000 })
	p, app := s.poll(t)
	chunk := strings.Repeat("x", 3000)
	sent := make(chan error)
	go func() {
		for range 20 { // six times what may wait
			if err := errors.Join(app.Send(text(chunk)), app.Await(context.Background())); err != nil {
				sent <- err
				return
			}
		}
		close(sent)
	}()
	var got int
	for got < 20 {
		got += strings.Count(p.get(t).body, chunk)
	}
	if err := <-sent; err != nil || got != 20 {
		t.Errorf("%d messages came, %v", got, err)
	}
	if err := app.Send(text(chunk)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := app.Await(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a message that nobody fetches Await returns %v", err)
	}
	app.Close(engineio.ReasonForcedClose)
	if err := app.Await(t.Context()); !errors.Is(err, engineio.ErrClosed) {
		t.Errorf("after the end Await returns %v", err)
	}
}

// net/http would read such a body later, beside its own next read.
func TestARefusedBodyThatNeverEndsIsCut(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		p, app := s.poll(t)
		conn, err := s.net()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		start := time.Now()
		fmt.Fprintf(conn, "POST /?%s HTTP/1.1\r\nHost: test\r\nContent-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\n4half", p.query)
		conn.SetDeadline(time.Now().Add(patience))
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400") {
			t.Errorf("answered with %q, %v", answer, err)
		}
		at(t, start, 5*time.Second)
		app.wantClosed(t, engineio.ReasonTransportError)
	})
}
