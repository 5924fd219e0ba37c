package sqs_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
)

// TestAnswerThatSwitchesProtocols: behind 101 net/http hands the connection over, and neither the end of the context nor
// that of the sink ends the reading of what follows.
func TestAnswerThatSwitchesProtocols(t *testing.T) {
	s := newStub(t, func(w http.ResponseWriter, _ []entry) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"))
	})
	k := start(t, s.config())
	ended := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	go func() { ended <- k.Deliver(ctx, sinktest.NewDelivery(sink.Instance, "sales", "call")) }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("an event that was not taken counts as delivered")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the delivery is held for as long as the server likes")
	}
}
