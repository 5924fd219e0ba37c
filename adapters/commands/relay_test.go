package commands

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/sink"
)

// TestAnswerThatSwitchesProtocols: behind 101 net/http hands the connection over, which ends with neither the time-out nor
// the context.
func TestAnswerThatSwitchesProtocols(t *testing.T) {
	held := make(chan net.Conn, 1)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"))
		held <- conn
	}))
	t.Cleanup(api.Close)
	c := Default()
	c.URL, c.Timeout = api.URL, 10*time.Second
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}

	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), c.Timeout)
		defer cancel()
		_, err := r.do(ctx, route{http.MethodPost, "/message/sendText/{instance}"}, core.Command{Instance: "sales"})
		ended <- err
	}()
	conn := <-held
	defer conn.Close()
	select {
	case err = <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the command is held for as long as the main API likes")
	}
	var failed *sink.CommandError
	if !errors.As(err, &failed) || failed.Status != http.StatusSwitchingProtocols {
		t.Fatalf("the command ended with %v, want an error with the status 101", err)
	}
}
