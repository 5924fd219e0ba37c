package webhook_test

import (
	"testing"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/e2e/hubtest"
	"github.com/evosink/evosink/sinks/webhook"
)

// A receiver of the global webhook that sorts out repeated ids, as it is told to, sees the events of both.
func TestNoTwoTenantsEventsHaveTheSameIDsInHeaders(t *testing.T) {
	r := newReceiver(t, nil)
	h := hubtest.Run(t, sink.Use(webhook.Spec, func(c *webhook.Config) {
		*c = webhook.Defaults()
		c.Server.Host = "127.0.0.1"
		c.GlobalEnabled, c.URL, c.Secret, c.Events = true, r.URL, "k", sink.Switches{"CALL": true}
	}))
	h.Create("one", "pusher")
	h.Create("two", "pusher")
	h.Emit("one", "call", "3EB0A1")
	h.Emit("two", "call", "3EB0A1")
	sinktest.Eventually(t, "both arrive", func() bool { return len(r.requests()) == 2 })
	first, second := r.requests()[0].Header, r.requests()[1].Header
	for _, name := range []string{"Idempotency-Key", "Webhook-Id"} {
		if a, b := first.Get(name), second.Get(name); a == "" || a == b {
			t.Errorf("%s is %q and %q", name, a, b)
		}
	}
	if first.Get("X-Event-Id") != "3EB0A1" || second.Get("X-Event-Id") != "3EB0A1" {
		t.Error("X-Event-Id is not the producer's")
	}
}
