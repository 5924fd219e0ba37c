package rabbitmq_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/e2e/hubtest"
	"github.com/evosink/evosink/sinks/rabbitmq"
)

func tenants(t *testing.T, b *broker, configure func(*rabbitmq.Config)) *hubtest.Hub {
	return hubtest.Run(t, sink.Use(rabbitmq.Spec, func(c *rabbitmq.Config) {
		*c = b.config()
		c.DeleteWithInstance = true
		if configure != nil {
			configure(c)
		}
	}))
}

// deleteAll deletes an instance and waits until all that was made for it is gone: last of all the mark of its exchange.
func (b *broker) deleteAll(h *hubtest.Hub, name, exchange string) {
	b.t.Helper()
	in, _ := h.Registry.Get(name)
	mark := fmt.Sprintf("evosink/%s/%x", in.ID, sha256.Sum256([]byte(exchange)))
	exists := func() bool {
		return b.do(func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(mark, "fanout", true, false, true, false, nil)
		}) == nil
	}
	if !exists() {
		b.t.Fatal("the exchange has no mark")
	}
	h.Delete(name)
	sinktest.Eventually(b.t, "all is deleted", func() bool { return !exists() })
}

// length is how many messages wait in a queue, -1 if there is none.
func (b *broker) length(queue string) (n int) {
	err := b.do(func(ch *amqp.Channel) error {
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		n = q.Messages
		return err
	})
	if err != nil {
		return -1
	}
	return n
}

func TestNoTenantReachesAnothersQueueByAName(t *testing.T) {
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprint("custom queues ", own), func(t *testing.T) {
			b := newBroker(t)
			shop, send := b.name, b.name+".eu"
			victim := send + ".messages.upsert"
			b.owns(shop, send, victim, shop+".custom", shop+".custom.eu%2Emessages%2Eupsert", shop+".call")
			h := tenants(t, b, func(c *rabbitmq.Config) {
				if own {
					c.CustomQueues = []string{"eu.messages.upsert"}
				}
			})
			h.Create(shop, "rabbitmq")
			h.Create(send, "rabbitmq")
			h.Emit(send, "messages.upsert", "")
			h.Emit(shop, "eu.messages.upsert", "")
			h.Emit(shop, "call", "")
			h.Delivered(3)
			sinktest.Eventually(t, "the event of the one is there", func() bool { return b.length(victim) == 1 })
			b.deleteAll(h, shop, shop)
			if b.exists(shop+".call") || b.exists(shop+".custom") || b.exists(shop+".custom.eu%2Emessages%2Eupsert") {
				t.Error("what was made for the deleted one is still there")
			}
			if n := b.length(victim); n != 1 {
				t.Errorf("%d messages are in the queue of another instance (-1: it is gone), want its own", n)
			}
			if b.deleteAll(h, send, send); b.exists(victim) {
				t.Error("it is not deleted with its own instance")
			}
		})
	}
}

// Only what was made for the instance goes with it: not what others made, nor what an earlier instance of the name has
// left.
func TestOnlyWhatHasItsInstancesMarkIsDeleted(t *testing.T) {
	b := newBroker(t)
	foreign, made := b.name+".messages.upsert", b.name+".call"
	b.owns(b.name, foreign, made)
	b.must(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(foreign, true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
		return err
	})
	h := tenants(t, b, nil)
	h.Create(b.name, "rabbitmq")
	h.Emit(b.name, "messages.upsert", "")
	h.Emit(b.name, "call", "")
	h.Delivered(2)
	if b.deleteAll(h, b.name, b.name); b.exists(made) {
		t.Error("what was made is still there")
	}
	if n := b.length(foreign); n != 1 {
		t.Errorf("a queue that was there before has %d messages, want 1 (-1: it is gone)", n)
	}
}

// The queues of a deleted instance are gone, with what they held, before those of the next one of its name are made.
func TestALaterInstanceInheritsNoMessages(t *testing.T) {
	b := newBroker(t)
	b.owns(b.name, b.name+".call")
	h := tenants(t, b, nil)
	for round := range 5 {
		h.Create(b.name, "rabbitmq")
		h.Emit(b.name, "call", fmt.Sprint("round-", round))
		h.Delivered(int64(round + 1))
		sinktest.Eventually(t, "one event is there, its own", func() bool { return b.length(b.name+".call") == 1 })
		if round < 4 {
			h.Delete(b.name)
		}
	}
	b.deleteAll(h, b.name, b.name)
}

// Instances that are called like what is the operator's get names of their own.
func TestAnInstanceCannotBeCalledLikeTheGlobalExchangeOrPrefix(t *testing.T) {
	b := newBroker(t)
	global := b.name + ".call"
	b.owns(b.name, global, "/"+b.name, "/"+b.name+".call")
	h := tenants(t, b, func(c *rabbitmq.Config) { c.GlobalEnabled, c.Events = true, sink.Switches{"CALL": true} })
	h.Create(b.name, "rabbitmq")
	h.Create(b.name+"-2", "pusher")
	h.Emit(b.name, "call", "")
	h.Emit(b.name+"-2", "call", "")
	h.Delivered(3)
	if n, own := b.length(global), b.length("/"+b.name+".call"); n != 2 || own != 1 {
		t.Errorf("the global queue has %d messages, want 2, and the instance's %d, want 1", n, own)
	}
	if b.deleteAll(h, b.name, "/"+b.name); b.exists("/" + b.name + ".call") {
		t.Error("what was made is still there")
	}
	if n := b.length(global); n != 2 {
		t.Errorf("the global queue has %d messages, want 2 (-1: it is gone)", n)
	}
}

func TestCustomEventsMakeNoMoreQueuesThanTheyMay(t *testing.T) {
	for _, want := range []int{0, 3} {
		b := newBroker(t)
		h := tenants(t, b, func(c *rabbitmq.Config) {
			for i := range want {
				c.CustomQueues = append(c.CustomQueues, fmt.Sprint("own.event.", i))
			}
		})
		h.Create(b.name, "rabbitmq")
		b.owns(b.name, b.name+".custom")
		for i := range 10 {
			h.Emit(b.name, fmt.Sprint("own.event.", i), "")
			b.owns(b.name + ".custom." + strings.ReplaceAll(fmt.Sprint("own.event.", i), ".", "%2E"))
		}
		h.Delivered(10)
		made := 0
		for i := range 10 {
			if b.exists(b.name+".custom.own%2Eevent%2E"+fmt.Sprint(i)) || b.exists(b.name+".own.event."+fmt.Sprint(i)) {
				made++
			}
		}
		if rest := b.length(b.name + ".custom"); made != want || rest != 10-want {
			t.Errorf("%d queues were made, want %d; %d events are in the one that is shared, want %d", made, want, rest, 10-want)
		}
		if b.deleteAll(h, b.name, b.name); b.exists(b.name + ".custom") {
			t.Error("what was made is still there")
		}
	}
}

// Three sinks are three nodes, or three lives of one: what one has made, the others do not know.
func TestNodesAndRestartsMakeNoMoreQueuesForAnInstance(t *testing.T) {
	b := newBroker(t)
	custom := b.name + ".custom"
	b.owns(b.name, custom)
	c := b.config()
	c.CustomQueues = []string{"own-0-0", "own-1-1"}
	var made []string
	for node := range 3 {
		s := start(t, c)
		for i := range 4 {
			name := fmt.Sprintf("own-%d-%d", node, i)
			b.owns(custom + "." + name)
			sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Instance, b.name, name))
		}
	}
	for node := range 3 {
		for i := range 4 {
			if name := fmt.Sprintf("own-%d-%d", node, i); b.exists(custom + "." + name) {
				made = append(made, name)
			}
		}
	}
	if want := []string{"own-0-0", "own-1-1"}; !slices.Equal(made, want) {
		t.Errorf("events %v have queues of their own, want %v", made, want)
	}
	sinktest.Eventually(t, "the others share one", func() bool { return b.length(custom) == 10 })
}

// The sink that deletes the queues is not the one that has made them.
func TestCustomQueuesOfADeletedInstanceGoWithItAfterARestart(t *testing.T) {
	b := newBroker(t)
	queue := b.name + ".custom.own"
	b.owns(b.name, queue)
	c := b.config()
	c.DeleteWithInstance, c.CustomQueues = true, []string{"own"}
	d := sinktest.NewDelivery(sink.Instance, b.name, "own")
	d.Event.InstanceID = "0191-" + b.name
	directory := sinktest.Directory{Settings: map[string]json.RawMessage{b.name: nil}}
	sinktest.Deliver(t, start(t, c, sink.Host{Logger: zerolog.Nop(), Directory: directory}), d)
	gone := &watched{changes: make(chan func(sink.Change), 1)}
	start(t, c, sink.Host{Logger: zerolog.Nop(), Directory: gone})
	(<-gone.changes)(sink.Change{Kind: sink.Deleted, Instance: b.name, ID: d.Event.InstanceID})
	sinktest.Eventually(t, "the queue is gone", func() bool { return !b.exists(queue) })
	mark := fmt.Sprintf("evosink/%s/%x", d.Event.InstanceID, sha256.Sum256([]byte(b.name)))
	sinktest.Eventually(t, "and last the exchange's mark", func() bool {
		return b.do(func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(mark, "fanout", true, false, true, false, nil)
		}) != nil
	})
}
