package nats_test

import (
	"strings"
	"testing"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/e2e/hubtest"
	"github.com/evosink/evosink/sinks/nats"
)

// Two tenants have the same message id; so has the second of two that had the same name, one after the other.
func TestJetStreamKeepsEventsWithTheSameIDOfTwoTenants(t *testing.T) {
	uri, conn := service(t)
	name := "T" + event.NewID()[24:]
	js := stream(t, conn, name)
	h := hubtest.Run(t, sink.Use(nats.Spec, func(c *nats.Config) {
		*c = config(uri)
		c.GlobalEnabled, c.Events, c.PrefixKey = true, sink.Switches{"MESSAGES_UPSERT": true}, strings.ToLower(name)
		c.JetStream = nats.JetStream{Enabled: true, Stream: name, Replicas: 1}
	}))
	h.Create("one", "pusher") // the global subject alone
	h.Create("two", "pusher") // the global subject alone
	for range 2 {             // the second time is the first again
		h.Emit("one", "messages.upsert", "3EB0A1")
		h.Emit("two", "messages.upsert", "3EB0A1")
	}
	h.Delivered(2)
	h.Delete("one")
	h.Create("one", "pusher") // the global subject alone
	h.Emit("one", "messages.upsert", "3EB0A2")
	h.Delivered(3)
	made, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if n := made.CachedInfo().State.Msgs; n != 3 {
		t.Errorf("the stream holds %d of 3 events: one is taken for another", n)
	}
}
