package httpapi_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/httpapi"
)

// An upload is a POST whose body stops before its last byte.
type upload struct {
	conn net.Conn
	last []byte
	sent chan struct{} // closed when all but the last byte was written, or the connection has ended
}

// stall begins a POST of size bytes and stops before the last.
func stall(t *testing.T, address, path string, size int, header ...string) *upload {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	event := `{"event":"a.b","instance":"sales","apikey":"` + salesKey + `","data":"`
	body := []byte(event + strings.Repeat("x", size-len(event)-2) + `"}`)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n", path, strings.Join(header, ""), size)
	u := &upload{conn, body[size-1:], make(chan struct{})}
	go func() {
		defer close(u.sent)
		conn.Write(body[:size-1])
	}()
	return u
}

// finish sends the last byte and returns the status.
func (u *upload) finish(t *testing.T) int {
	t.Helper()
	<-u.sent
	u.conn.Write(u.last)
	status, _ := u.answered(t)
	return status
}

func (u *upload) answered(t *testing.T) (status int, body string) {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(u.conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if over := r.StatusCode == 429 || r.StatusCode == 503; over != (r.Header.Get("Retry-After") == "1") {
		t.Errorf("status %d with Retry-After %q", r.StatusCode, r.Header.Get("Retry-After"))
	}
	return r.StatusCode, string(text)
}

// bounded is an API that takes bodies of 1 MiB, 4 MiB in all.
func bounded(t *testing.T, logs ...io.Writer) (s *server, address string) {
	s = newServer(t, func(o *httpapi.Options) {
		for _, log := range logs {
			o.Logger = zerolog.New(log)
		}
		o.Config.Server.MaxBodyBytes, o.Config.Server.MaxBodiesBytes, o.Config.Events.MaxBytes = 1<<20, 4<<20, 1<<20
		o.Config.Server.TrustedProxies = []string{"127.0.0.1"}
	})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.Listener.Addr().String()
}

func from(client string) string { return "X-Forwarded-For: " + client + "\r\n" }

func TestBodiesUnderWayAreBoundedPerKeyPerAddressAndInAll(t *testing.T) {
	const big = 1 << 20
	sales, other, global := "apikey: "+salesKey+"\r\n", "apikey: "+otherKey+"\r\n", "apikey: "+globalKey+"\r\n"
	events := func(int) string { return "/events/sales" }
	for _, c := range []struct {
		name, over string
		status     int
		fit        int // how many bodies of 1 MiB
		path       func(i int) string
		headers    func(i int) []string
	}{
		{"one key from many addresses", "token of this instance", 429, 2, events, func(i int) []string {
			return []string{sales, from(fmt.Sprint("1.1.1.", i))}
		}},
		{"one address with two keys", "the address 1.1.1.1", 429, 2, func(i int) string {
			return []string{"/events/sales", "/events/other"}[i%2]
		}, func(i int) []string { return []string{[]string{sales, other}[i%2], from("1.1.1.1")} }},
		{"senders without a key", "without a key", 429, 1, func(int) string { return "/ingest/evolution" }, func(i int) []string {
			return []string{from(fmt.Sprint("1.1.1.", i))}
		}},
		{"the global key", "All requests", 503, 4, events, func(int) []string { return []string{global, from("1.1.1.1")} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := &door{}
			s, address := bounded(t, log)
			var held []*upload
			for i := range c.fit {
				held = append(held, stall(t, address, c.path(i), big, c.headers(i)...))
			}
			waitFor(t, "the bodies", func() bool { return s.BodyBytes() >= int64(c.fit*big) })
			for i := range 8 {
				u := stall(t, address, c.path(i), big, c.headers(i)...)
				<-u.sent
				u.conn.Write(u.last)
				if got, why := u.answered(t); got != c.status || !strings.Contains(why, c.over) {
					t.Fatalf("body %d was answered %d %s, want %d", c.fit+i, got, why, c.status)
				}
			}
			if log.logged(c.over) == 0 {
				t.Error("the log does not say what is refused and why")
			}
			if got := s.BodyBytes(); got > int64(c.fit*big) {
				t.Errorf("%d bytes are under way", got)
			}
			if got := stall(t, address, c.path(0), 1000, c.headers(0)...).finish(t); got != 201 {
				t.Errorf("a small body was answered %d", got)
			}
			for _, u := range held {
				u.finish(t)
			}
			waitFor(t, "the bodies to be given back", func() bool { return s.BodyBytes() == 0 })
			if got := stall(t, address, c.path(0), big, c.headers(0)...).finish(t); got != 201 {
				t.Errorf("after the others a body was answered %d", got)
			}
		})
	}
}

func TestWhatABodyAnnouncesCostsNothingUntilItComes(t *testing.T) {
	s, address := bounded(t)
	for range 100 {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /events/sales HTTP/1.1\r\nHost: x\r\napikey: %s\r\nContent-Length: %d\r\n\r\n{", globalKey, 1<<20)
	}
	waitFor(t, "the bodies", func() bool { return s.BodyBytes() >= 100*4096 })
	if got := s.BodyBytes(); got > 100*4096 {
		t.Errorf("100 bodies of one byte hold %d bytes", got)
	}
}

func TestABodyIsReadWholeWhateverItsSize(t *testing.T) {
	s := newServer(t)
	for _, size := range []int{100, 4095, 4096, 4097, 16384, 100_000, 1 << 20} {
		want := strings.Repeat("x", size)
		body := `{"event":"a.b","data":"` + want + `"}`
		for _, r := range []io.Reader{strings.NewReader(body), io.MultiReader(strings.NewReader(body))} {
			s.hub.events = nil
			request := httptest.NewRequest("POST", "/events/sales", r)
			request.Header.Set("apikey", salesKey)
			w := httptest.NewRecorder()
			if s.ServeHTTP(w, request); w.Code != 201 || !bytes.Equal(s.hub.events[0].Data, []byte(`"`+want+`"`)) {
				t.Errorf("%d bytes: answered %d", size, w.Code)
			}
		}
	}
}

func TestABodyThatBreaksOffIsRefused(t *testing.T) {
	s := newServer(t)
	request := httptest.NewRequest("POST", "/events/sales", io.MultiReader(strings.NewReader(`{"event":"a.b"}`), broken{}))
	request.Header.Set("apikey", salesKey)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, request)
	answer{w, w.Body.String()}.says(t, 400, "did not arrive whole")
	if s.BodyBytes() != 0 {
		t.Error("its bytes are still counted")
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }
