package webhook_test

import (
	"context"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/webhook"
)

// names is a resolver whose answers change.
type names struct {
	atomic.Pointer[map[string]string]
}

func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		return resolver(maps.Clone(*n.Load())).Dial(ctx, network, address)
	}}
}

func TestAReceiverWhoseNameMovesIsFollowedUnderTraffic(t *testing.T) {
	old := newReceiver(t, nil)
	_, port, _ := net.SplitHostPort(old.Listener.Addr().String())
	moved := unstarted(nil)
	l, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Skip("this machine has one loopback address: ", err)
	}
	moved.Listener.Close()
	moved.Listener = l
	moved.Start()
	t.Cleanup(moved.Close)

	var dns names
	dns.Store(&map[string]string{"app.test.": "127.0.0.1"})
	url := "http://app.test:" + port
	s := open(t, func(c *webhook.Config) {
		c.SetResolver(dns.resolver())
		c.GlobalEnabled, c.URL, c.Events = true, url, sink.Switches{"ALL": true}
	})
	deliver := func(n int) {
		t.Helper()
		for _, target := range []sink.Target{"instance", "global"} {
			for range n {
				if err := s.Deliver(t.Context(), delivery(target, settingsFor(url, ""))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	deliver(10)
	dns.Store(&map[string]string{"app.test.": "127.0.0.2"})
	s.SetClock(at.Add(time.Minute))
	deliver(10)
	if len(old.requests()) != 20 || len(moved.requests()) != 20 {
		t.Errorf("%d requests came to the old address and %d to the new one, want 20 each", len(old.requests()), len(moved.requests()))
	}
}

// Instances often have their webhooks at one host, n8n for example: what goes out at once must not cost a connection
// each time.
func TestDeliveriesOfManyInstancesToOneHostUseConnectionsAgain(t *testing.T) {
	const atOnce = 48
	var connections atomic.Int32
	var arrived sync.WaitGroup
	r := unstarted(func(w http.ResponseWriter, _ *http.Request) {
		arrived.Done()
		arrived.Wait()
		w.WriteHeader(http.StatusNoContent)
	})
	r.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	r.Start()
	t.Cleanup(r.Close)
	s := open(t)
	for range 3 {
		arrived.Add(atOnce)
		var deliveries sync.WaitGroup
		for range atOnce {
			deliveries.Go(func() {
				if err := s.Deliver(t.Context(), delivery("instance", settingsFor(r.URL, ""))); err != nil {
					t.Error(err)
				}
			})
		}
		deliveries.Wait()
	}
	if n := connections.Load(); n != atOnce {
		t.Errorf("%d connections were made for %d deliveries at once", n, atOnce)
	}
}

func TestConnectionsThatAreReplacedEndWithTheirRequest(t *testing.T) {
	arrived, answer := make(chan struct{}), make(chan struct{})
	var connected atomic.Int32
	r := unstarted(func(_ http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/slow" {
			close(arrived)
			<-answer
		}
	})
	closed := make(chan struct{}, 10)
	r.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			connected.Add(1)
		case http.StateClosed:
			connected.Add(-1)
			closed <- struct{}{}
		}
	}
	r.Start()
	t.Cleanup(r.Close)
	s := open(t)
	result := make(chan error, 1)
	go func() { result <- s.Deliver(t.Context(), delivery("instance", settingsFor(r.URL+"/slow", ""))) }()
	<-arrived
	s.SetClock(at.Add(time.Hour))
	if err := s.Deliver(t.Context(), delivery("instance", settingsFor(r.URL, ""))); err != nil {
		t.Fatal(err)
	}
	close(answer)
	if err := <-result; err != nil {
		t.Errorf("a request under way was cut off: %v", err)
	}
	<-closed // the old connection, now that its request is done
	if n := connected.Load(); n != 1 {
		t.Errorf("%d connections are open, want 1", n)
	}
}
