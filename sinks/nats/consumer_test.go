package nats_test

import (
	"encoding/json"
	"testing"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
)

func TestSubscribersOfEvolutionReceiveUnchanged(t *testing.T) {
	uri, _ := service(t)
	instance := "evosink-test-" + event.NewID()
	c := config(uri)
	c.PrefixKey = instance + "-global"
	s := start(t, c)
	lines := sinktest.NodeConsumer(t, "testdata/consumer", "nats", uri, instance+".messages.upsert", instance+".group-participants.update", c.PrefixKey+".connection.update")
	for _, k := range []struct {
		scope         sink.Scope
		name, subject string
	}{
		{sink.Instance, "messages.upsert", instance + ".messages.upsert"},
		{sink.Instance, "group-participants.update", instance + ".group-participants.update"},
		{sink.Global, "connection.update", c.PrefixKey + ".connection.update"},
	} {
		sinktest.Deliver(t, s, sinktest.NewDelivery(k.scope, instance, k.name))
		if !lines.Scan() {
			t.Fatal("the consumer has ended")
		}
		var got struct {
			Subject, Event, Instance string
			Data                     struct{ PushName string }
		}
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		if got.Subject != k.subject || got.Event != k.name || got.Instance != instance || got.Data.PushName != "Ana <&> Zoë" {
			t.Errorf("got %+v", got)
		}
	}
}
