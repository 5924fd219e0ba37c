package rabbitmq_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/rabbitmq"
)

func TestContract(t *testing.T) {
	b := newBroker(t)
	queue := b.name + ".messages.upsert"
	b.owns(b.name, queue)
	sinktest.Run(t, sinktest.Subject{
		Scope: sink.Global, Target: "global",
		New: func(t *testing.T, h sink.Host) sink.Sink {
			s, err := rabbitmq.New(b.config(), h)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Listen: func(t *testing.T, s sink.Sink) func() []string {
			sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Global, "sales", "messages.upsert")) // makes the queue
			b.must(func(ch *amqp.Channel) error { _, err := ch.QueuePurge(queue, false); return err })
			done := make(chan struct{})
			t.Cleanup(func() { <-done }) // runs after the consumer was ended
			mine := *b
			mine.t = t
			got := mine.consume(queue)
			var mu sync.Mutex
			var ids []string
			go func() {
				defer close(done)
				for d := range got {
					mu.Lock()
					ids = append(ids, d.MessageId)
					mu.Unlock()
				}
			}()
			return func() []string {
				mu.Lock()
				defer mu.Unlock()
				return append([]string(nil), ids...)
			}
		},
	})
}

// Evolution's consumers look at exactly these names (evolution.md 1.1, emit-time column).
func TestEventsGoWhereEvolutionPutsThem(t *testing.T) {
	b := newBroker(t)
	instance := b.name + " Loja 1"
	for _, c := range []struct {
		scope                  sink.Scope
		name, exchange, suffix string
	}{
		{sink.Instance, "messages.upsert", instance, "messages.upsert"},
		{sink.Instance, "group-participants.update", instance, "group-participants.update"},
		{sink.Instance, "typebot.change-status", instance, "typebot.change-status"},
		{sink.Global, "send.message.update", b.name, "send.message.update"},
		{sink.Global, "SendMessage", b.name, "sendmessage"},
	} {
		t.Run(c.scope.String()+" "+c.name, func(t *testing.T) {
			queue := c.exchange + "." + c.suffix
			b.owns(c.exchange, queue)
			d := sinktest.NewDelivery(c.scope, instance, c.name)
			sinktest.Deliver(t, start(t, b.config()), d)
			got := next(t, b.consume(queue))
			if got.Exchange != c.exchange || got.RoutingKey != c.name {
				t.Errorf("published to %q with key %q", got.Exchange, got.RoutingKey)
			}
			if got.ContentType != "application/json" || got.DeliveryMode != amqp.Persistent || got.MessageId != d.Event.ID ||
				got.Type != c.name || !got.Timestamp.Equal(d.Event.Time.Truncate(time.Second)) {
				t.Errorf("properties: %+v", got)
			}
			if h := got.Headers; h["event"] != c.name || h["instance"] != instance || h["key"] != d.Key {
				t.Errorf("headers: %v", h)
			}
			want := fmt.Sprintf(`{"event":%q,"instance":%q,"data":{"pushName":"Ana <&> Zoë"},`+
				`"server_url":"https://api.example","date_time":"2025-10-21T14:00:39.512Z",`+
				`"sender":"5511999990000@s.whatsapp.net","apikey":null,"id":%q}`,
				c.name, instance, d.Event.ID)
			if string(got.Body) != want {
				t.Errorf("body\n%s\nwant\n%s", got.Body, want)
			}
		})
	}
}

func TestExchangesQueuesAndBindingsAreThoseOfEvolution(t *testing.T) {
	b := newBroker(t)
	queue := b.name + ".call"
	b.owns(b.name, queue)
	sinktest.Deliver(t, start(t, b.config()), sinktest.NewDelivery(sink.Instance, b.name, "call"))
	b.must(func(ch *amqp.Channel) error { // what Evolution API itself would declare is no contradiction
		if err := ch.ExchangeDeclare(b.name, "topic", true, false, false, false, nil); err != nil {
			return err
		}
		_, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{"x-queue-type": "quorum"})
		return err
	})
}

func TestTheTokenIsShownOnlyWhereConfigured(t *testing.T) {
	b := newBroker(t)
	b.owns(b.name, b.name+".call")
	c := b.config()
	exposed := sink.Host{Logger: zerolog.Nop(), Directory: sinktest.Directory{}, Envelope: event.Codec{ExposeAPIKey: true}}
	sinktest.Deliver(t, start(t, c, exposed), sinktest.NewDelivery(sink.Global, "sales", "call"))
	if got := body(t, next(t, b.consume(b.name+".call")).Body); got["apikey"] != "token" {
		t.Errorf("apikey is %v", got["apikey"])
	}
}

func TestGlobalQueuesAreThereBeforeTheFirstEvent(t *testing.T) {
	b := newBroker(t)
	queues := []string{b.name + ".groups.update", b.name + ".group-participants.update"}
	b.owns(append(queues, b.name)...)
	c := b.config()
	c.GlobalEnabled, c.Events = true, sink.Switches{"GROUP_UPDATE": true, "GROUP_PARTICIPANTS_UPDATE": true, "CALL": false}
	start(t, c)
	for _, q := range queues {
		sinktest.Eventually(t, q+" exists", func() bool { return b.exists(q) })
	}
	if b.exists(b.name + ".call") {
		t.Error("a queue was made for an event that is switched off")
	}
}

func TestAQueueThatExistsWithOtherPropertiesIsUsedAsItIs(t *testing.T) {
	b := newBroker(t)
	queue := b.name + ".call"
	b.owns(b.name, queue)
	b.must(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(queue, true, false, false, false, nil)
		return err
	})
	var log strings.Builder
	h := sink.Host{Logger: zerolog.New(zerolog.SyncWriter(&log)), Directory: sinktest.Directory{}}
	sinktest.Deliver(t, start(t, b.config(), h), sinktest.NewDelivery(sink.Global, "sales", "call"))
	next(t, b.consume(queue))
	if !strings.Contains(log.String(), "used as it is") || !strings.Contains(log.String(), "x-queue-type") {
		t.Errorf("the log does not say so: %s", log.String())
	}
}

func TestAnExchangeOfAnotherTypeFailsItsOwnEventsOnly(t *testing.T) {
	b := newBroker(t)
	b.owns(b.name, b.name+"-bad", b.name+".call")
	b.must(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(b.name+"-bad", "fanout", true, false, false, false, nil)
	})
	s := start(t, b.config())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			err := s.Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, b.name+"-bad", "call"))
			if err == nil || !strings.Contains(err.Error(), "delete it") || sink.IsPermanent(err) || sink.IsUnavailable(err) {
				t.Errorf("got %v", err)
			}
		})
		wg.Go(func() {
			if err := s.Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, b.name, "call")); err != nil {
				t.Errorf("an event of another instance: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestWhatWasDeletedIsMadeAgainForTheNextAttempt(t *testing.T) {
	for what, remove := range map[string]func(*amqp.Channel, string) error{
		"queue": func(ch *amqp.Channel, name string) error {
			_, err := ch.QueueDelete(name+".call", false, false, false)
			return err
		},
		"exchange": func(ch *amqp.Channel, name string) error { return ch.ExchangeDelete(name, false, false) },
		"binding":  func(ch *amqp.Channel, name string) error { return ch.QueueUnbind(name+".call", "call", name, nil) },
	} {
		t.Run(what, func(t *testing.T) {
			b := newBroker(t)
			b.owns(b.name, b.name+".call")
			s := start(t, b.config())
			sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Instance, b.name, "call"))
			b.must(func(ch *amqp.Channel) error { return remove(ch, b.name) })
			d := sinktest.NewDelivery(sink.Instance, b.name, "call")
			if err := s.Deliver(t.Context(), d); err == nil || sink.IsPermanent(err) || sink.IsUnavailable(err) {
				t.Fatalf("an event that no queue took: %v", err)
			}
			sinktest.Deliver(t, s, d)
			got := b.consume(b.name + ".call")
			for next(t, got).MessageId != d.Event.ID {
			}
		})
	}
}

func TestWithDeclareOffNothingIsCreated(t *testing.T) {
	b := newBroker(t)
	b.owns(b.name)
	c := b.config()
	c.Declare = false
	s := start(t, c)
	err := s.Deliver(t.Context(), sinktest.NewDelivery(sink.Global, "sales", "call"))
	if err == nil || !strings.Contains(err.Error(), "no exchange") {
		t.Errorf("without the exchange: %v", err)
	}
	b.must(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(b.name, "topic", true, false, false, false, nil)
	})
	sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Global, "sales", "call")) // as for any publisher, no queue takes it
	if b.exists(b.name + ".call") {
		t.Error("a queue was created")
	}
	c.Mandatory = true
	if err := start(t, c).Deliver(t.Context(), sinktest.NewDelivery(sink.Global, "sales", "call")); err == nil {
		t.Error("with mandatory on, an event that no queue takes is a success")
	}
}

func TestAFullQueueThatRejectsIsAFailureToTryAgain(t *testing.T) {
	b := newBroker(t)
	b.owns(b.name, b.name+".call")
	c := b.config()
	c.Queues = rabbitmq.Queues{Type: "classic", MaxLength: 2, Overflow: "reject-publish"}
	s := start(t, c)
	var err error
	for range 10 {
		if err = s.Deliver(t.Context(), sinktest.NewDelivery(sink.Global, "sales", "call")); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "nack") || sink.IsPermanent(err) || sink.IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
}

func TestWhatExpiresGoesToTheDeadLetterExchange(t *testing.T) {
	b := newBroker(t)
	dead := b.name + "-dead"
	b.owns(b.name, b.name+".call", dead)
	b.must(func(ch *amqp.Channel) error {
		if err := ch.ExchangeDeclare(dead, "fanout", true, false, false, false, nil); err != nil {
			return err
		}
		if _, err := ch.QueueDeclare(dead, true, false, false, false, nil); err != nil {
			return err
		}
		return ch.QueueBind(dead, "", dead, false, nil)
	})
	c := b.config()
	c.Queues = rabbitmq.Queues{
		Type: "quorum", MessageTTL: 50 * time.Millisecond, MaxLength: 1000, MaxLengthBytes: 1 << 20,
		DeadLetterExchange: dead, DeadLetterRoutingKey: "expired",
	}
	d := sinktest.NewDelivery(sink.Global, "sales", "call")
	sinktest.Deliver(t, start(t, c), d)
	if got := next(t, b.consume(dead)); got.MessageId != d.Event.ID || got.RoutingKey != "expired" {
		t.Errorf("got %s with key %s", got.MessageId, got.RoutingKey)
	}
}

func TestNamesThatRabbitMQCannotCarryArePermanentFailures(t *testing.T) {
	b := newBroker(t)
	c := b.config()
	c.CustomQueues = []string{"own.#", "own.*.all"}
	s := start(t, c)
	for _, d := range []*sink.Delivery{
		sinktest.NewDelivery(sink.Instance, "amq.topic", "call"),
		sinktest.NewDelivery(sink.Instance, strings.Repeat("x", 250), "messages.upsert"),
		sinktest.NewDelivery(sink.Instance, b.name, "own.#"),
		sinktest.NewDelivery(sink.Global, b.name, "own.*.all"),
	} {
		if err := s.Deliver(t.Context(), d); !sink.IsPermanent(err) {
			t.Errorf("instance %.20s, event %s: %v", d.Event.Instance, d.Event.Name, err)
		}
	}
}

func TestABatchStopsTheLaneThatFailsAndNoOther(t *testing.T) {
	b := newBroker(t)
	b.owns(b.name, b.name+".call")
	s := start(t, b.config())
	bad := sinktest.NewDelivery(sink.Instance, "amq.bad", "call")
	behind := sinktest.NewDelivery(sink.Instance, "amq.bad", "messages.upsert")
	first, last := sinktest.NewDelivery(sink.Instance, b.name, "call"), sinktest.NewDelivery(sink.Instance, b.name, "call")
	batch := []*sink.Delivery{first, bad, behind, last}
	errs := s.DeliverBatch(t.Context(), batch)
	if errs[0] != nil || errs[3] != nil {
		t.Errorf("the healthy lane: %v, %v", errs[0], errs[3])
	}
	if !sink.IsPermanent(errs[1]) || errs[2] == nil || sink.IsPermanent(errs[2]) {
		t.Errorf("the lane that fails: %v, %v", errs[1], errs[2])
	}
	got := b.consume(b.name + ".call")
	for _, i := range []int{0, 3} {
		if id := next(t, got).MessageId; id != batch[i].Event.ID {
			t.Errorf("got %s, want %s", id, batch[i].Event.ID)
		}
	}
}

func TestABatchLargerThanAChannelTakesKeepsItsOrder(t *testing.T) {
	b := newBroker(t)
	b.owns(b.name, b.name+".call")
	s := start(t, b.config())
	var batch []*sink.Delivery
	for range 600 {
		batch = append(batch, sinktest.NewDelivery(sink.Instance, b.name, "call"))
	}
	for i, err := range s.DeliverBatch(t.Context(), batch) {
		if err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	got := b.consume(b.name + ".call")
	for i, d := range batch {
		if id := next(t, got).MessageId; id != d.Event.ID {
			t.Fatalf("event %d is %s, want %s", i, id, d.Event.ID)
		}
	}
}

func TestTheQueuesOfADeletedInstanceGoWithItIfConfigured(t *testing.T) {
	b := newBroker(t)
	other := b.name + "-other"
	b.owns(b.name, b.name+".call", other, other+".call")
	c := b.config()
	c.DeleteWithInstance = true
	mine := sinktest.NewDelivery(sink.Instance, b.name, "call")
	mine.Event.InstanceID = "0191-" + b.name
	both := sinktest.Directory{Settings: map[string]json.RawMessage{b.name: nil, other: nil}}
	earlier := start(t, c, sink.Host{Logger: zerolog.Nop(), Directory: both})
	sinktest.Deliver(t, earlier, mine)
	sinktest.Deliver(t, earlier, sinktest.NewDelivery(sink.Instance, other, "call"))

	gone := &watched{changes: make(chan func(sink.Change), 1)}
	s := start(t, c, sink.Host{Logger: zerolog.Nop(), Directory: gone})
	(<-gone.changes)(sink.Change{Kind: sink.Deleted, Instance: b.name, ID: mine.Event.InstanceID})
	sinktest.Eventually(t, "the queue is gone", func() bool { return !b.exists(b.name + ".call") })
	sinktest.Eventually(t, "the exchange is gone", func() bool {
		return b.do(func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(b.name, "topic", true, false, false, false, nil)
		}) != nil
	})
	mark := fmt.Sprintf("evosink/%s/%x", mine.Event.InstanceID, sha256.Sum256([]byte(b.name)))
	sinktest.Eventually(t, "and last its mark", func() bool {
		return b.do(func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(mark, "fanout", true, false, true, false, nil)
		}) != nil
	})
	if !b.exists(other + ".call") {
		t.Error("another instance's queue is gone too")
	}
	if err := s.Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, b.name, "call")); !sink.IsPermanent(err) {
		t.Errorf("a late event of the instance, which would make its queue again: %v", err)
	}
}

// watched is a directory without instances that hands out its watcher.
type watched struct {
	sinktest.Directory
	changes chan func(sink.Change)
}

func (w *watched) Watch(f func(sink.Change)) func() { w.changes <- f; return func() {} }

func TestCloseWaitsForDeliveriesUnderWay(t *testing.T) {
	b := newBroker(t)
	b.owns(b.name, b.name+".call")
	s := start(t, b.config())
	sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Global, "sales", "call"))
	errs, began := make(chan error, 8), make(chan struct{}, 8)
	for range cap(errs) {
		go func() {
			began <- struct{}{}
			errs <- s.Deliver(context.Background(), sinktest.NewDelivery(sink.Global, "sales", "call"))
		}()
	}
	for range cap(began) {
		<-began
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	for range cap(errs) {
		if err := <-errs; err != nil && !sink.IsUnavailable(err) { // it came after Close
			t.Errorf("a delivery under way: %v", err)
		}
	}
	if err := s.Check(t.Context()); err == nil {
		t.Error("a closed sink is healthy")
	}
}
