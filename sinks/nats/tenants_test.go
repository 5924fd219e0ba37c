package nats_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
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

// An event that a tenant names itself must reach no subject of another, nor a global one.
func TestNoTenantReachesAnothersSubjectByAName(t *testing.T) {
	uri, conn := service(t)
	name := "t" + event.NewID()[24:]
	theirs, global := subscribe(t, conn, name+".eu.>"), subscribe(t, conn, "messages."+name)
	h := hubtest.Run(t, sink.Use(nats.Spec, func(c *nats.Config) {
		*c = config(uri)
		c.KeepDots, c.CustomSubjects = true, []string{"eu.messages.upsert", name}
		c.GlobalEnabled, c.GlobalEvents = true, []string{"ALL"}
	}))
	h.Create(name, "nats")
	h.Create(name+".eu", "nats")
	h.Create("messages", "nats")
	h.Emit(name, "eu.messages.upsert", "")
	h.Emit("messages", name, "")
	h.Emit(name+".eu", "call", "own")
	if got := next(t, theirs); !strings.Contains(string(got.Data), `"own"`) {
		t.Errorf("%s got %s", got.Subject, got.Data)
	}
	h.Delivered(6)
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []*natsgo.Subscription{theirs, global} {
		if n, _, _ := sub.Pending(); n > 0 {
			t.Errorf("%d more came to %s", n, sub.Subject)
		}
	}
}

// Three sinks are three nodes, or three lives of one: what one has made, the others do not know.
func TestNodesAndRestartsMakeNoMoreSubjectsForAnInstance(t *testing.T) {
	uri, conn := service(t)
	name := "T" + event.NewID()[24:]
	js := stream(t, conn, name)
	c := config(uri)
	c.CustomSubjects = []string{"own-0-0", "own-1-1"}
	c.JetStream = nats.JetStream{Enabled: true, Stream: name, Replicas: 1}
	for node := range 3 {
		s := start(t, c)
		for i := range 4 {
			sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Instance, name, fmt.Sprintf("own-%d-%d", node, i)))
		}
	}
	made, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := made.Info(t.Context(), jetstream.WithSubjectFilter(name+".>"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{name + ".custom": 10, name + ".custom.own-0-0": 1, name + ".custom.own-1-1": 1}
	if got := info.State.Subjects; !maps.Equal(got, want) {
		t.Errorf("the stream holds events with the subjects %v\nwant %v", got, want)
	}
	if got := info.Config.Subjects; !slices.Equal(got, []string{name + ".>"}) {
		t.Errorf("the stream takes %v", got)
	}
}
