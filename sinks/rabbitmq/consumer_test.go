package rabbitmq_test

import (
	"encoding/json"
	"testing"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
)

func TestConsumersOfEvolutionReceiveUnchanged(t *testing.T) {
	b := newBroker(t)
	instance, global := b.name+" Loja 1", b.name
	events := []string{"messages.upsert", "group-participants.update", "connection.update"}
	for _, c := range []struct {
		scope            sink.Scope
		exchange, prefix string
	}{{sink.Instance, instance, instance}, {sink.Global, global, global}} {
		t.Run(c.scope.String(), func(t *testing.T) {
			b.owns(c.exchange)
			for _, e := range events {
				b.owns(c.prefix + "." + e)
			}
			s := start(t, b.config())
			before := sinktest.NewDelivery(c.scope, instance, events[0])
			sinktest.Deliver(t, s, before) // what comes before the consumer does is kept for it
			lines := sinktest.NodeConsumer(t, "testdata/consumer", "amqplib", append([]string{b.uri, c.exchange, c.prefix}, events...)...)
			for _, e := range events {
				sinktest.Deliver(t, s, sinktest.NewDelivery(c.scope, instance, e))
			}
			got := map[string]int{}
			for range len(events) + 1 {
				if !lines.Scan() {
					t.Fatal("the consumer has ended")
				}
				var line struct {
					Queue, Key, Event, Instance string
					Data                        struct{ PushName string }
				}
				if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
					t.Fatalf("%v: %s", err, lines.Bytes())
				}
				if line.Queue != c.prefix+"."+line.Event || line.Key != line.Event || line.Instance != instance || line.Data.PushName != "Ana <&> Zoë" {
					t.Errorf("got %+v", line)
				}
				got[line.Event]++
			}
			if got[events[0]] != 2 || got[events[1]] != 1 || got[events[2]] != 1 {
				t.Errorf("got %v", got)
			}
		})
	}
}
