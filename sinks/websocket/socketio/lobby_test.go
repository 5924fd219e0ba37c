package socketio_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// handshakes opens n sessions of polling from a site, and joins nothing.
func handshakes(t *testing.T, url, site string, n int) {
	t.Helper()
	for range n {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"?EIO=4&transport=polling&site="+site, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("a handshake is answered %s", res.Status)
		}
	}
}

// A stranger opens sessions of polling, one request each and no connection of their own, and joins nothing. They are
// bounded, and clients that join are let in while that goes on and stay.
func TestSessionsThatHaveJoinedNothingAreBounded(t *testing.T) {
	srv, url := serve(t, func(c *socketio.Config) {
		c.MaxLobby, c.MaxLobbyEach = 50, 20
		c.Site = func(r *http.Request) any { return r.URL.Query().Get("site") }
	})
	srv.Handle("/", socketio.Hooks{Authorize: func(context.Context, *socketio.ConnectRequest) error { return nil }})
	joined := 0
	for _, connect := range []func(testing.TB, string) *peer{dial, poll} {
		handshakes(t, url, "stranger", 30)
		p := connect(t, url) // of the site "", as all that join here
		handshakes(t, url, "stranger", 30)
		p.wire.send("40")
		if packet := <-p.in; !strings.HasPrefix(packet, "0{") {
			t.Fatalf("a client that joins gets %s", packet)
		}
		joined++
	}
	eventually(t, "one site has its share", func() bool { return srv.Stats().Sessions == 20+joined })
	for i := range 10 {
		handshakes(t, url, fmt.Sprint("stranger-", i), 15)
	}
	eventually(t, "all together have theirs", func() bool { return srv.Stats().Sessions == 50+joined })
}
