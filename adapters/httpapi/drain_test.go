package httpapi_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/core/event"
)

func TestDrainWaitsForRequestsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.hub.before = func(...*event.Event) { time.Sleep(5 * time.Second) }
		answered := make(chan answer, 1)
		go func() { answered <- s.admin("POST", "/events/sales", `{"event":"a.b"}`) }()
		synctest.Wait()

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a drain without time for the request returned %v", err)
		}
		start := time.Now()
		if err := s.Drain(t.Context()); err != nil || time.Since(start) != 4*time.Second {
			t.Errorf("drained with %v after %s", err, time.Since(start))
		}
		(<-answered).says(t, 201)
	})
}

func TestServeEndsWithoutAnErrorWhenItsServerIsShutDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := httpapi.Default().Server
	server := httpapi.NewServer(c, newServer(t), zerolog.Nop())
	ended := make(chan error, 1)
	go func() { ended <- httpapi.Serve(server, l, c) }()
	r, err := http.Get("http://" + l.Addr().String() + "/healthz")
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", r, err)
	}
	r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if err := server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve returned %v", err)
	}
}

func TestServeSaysWhichCertificateIsMissing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := httpapi.Default().Server
	c.Type, c.Certificate, c.PrivateKey = "https", "no-such-chain.pem", "no-such-key.pem"
	if err := httpapi.Serve(httpapi.NewServer(c, newServer(t), zerolog.Nop()), l, c); err == nil || !strings.Contains(err.Error(), "no-such-chain.pem") {
		t.Errorf("err = %v", err)
	}
}
