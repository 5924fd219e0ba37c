package rabbitmq_test

import (
	"cmp"
	"encoding/json"
	"net/url"
	"os"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/rabbitmq"
)

// A broker is the real RabbitMQ at EVOSINK_TEST_AMQP, as seen by a consumer. Its names are this test's own.
type broker struct {
	*amqp.Connection
	t    testing.TB
	uri  string
	name string // begins every name that the test may use
}

func newBroker(t testing.TB) *broker {
	t.Helper()
	uri := cmp.Or(os.Getenv("EVOSINK_TEST_AMQP"), "amqp://guest:guest@127.0.0.1:5672/")
	conn, err := amqp.Dial(uri)
	if err != nil {
		if os.Getenv("EVOSINK_REQUIRE_SERVICES") == "1" {
			t.Fatalf("RabbitMQ is required and cannot be reached: %v", err)
		}
		t.Skipf("no RabbitMQ (set EVOSINK_TEST_AMQP): %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	return &broker{Connection: conn, t: t, uri: uri, name: "evosink-test-" + event.NewID()}
}

// config is that of a sink whose names are the test's.
func (b *broker) config() rabbitmq.Config {
	c := rabbitmq.Defaults()
	c.Enabled, c.URI, c.ExchangeName, c.PrefixKey = true, b.uri, b.name, b.name
	c.ReconnectMax = time.Second
	return c
}

// owns deletes exchanges and queues when the test is over.
func (b *broker) owns(names ...string) {
	b.t.Cleanup(func() {
		for _, name := range names {
			b.do(func(ch *amqp.Channel) error { return ch.ExchangeDelete(name, false, false) })
			b.do(func(ch *amqp.Channel) error { _, err := ch.QueueDelete(name, false, false, false); return err })
		}
	})
}

// do runs f on a fresh channel.
func (b *broker) do(f func(*amqp.Channel) error) error {
	b.t.Helper()
	ch, err := b.Channel()
	if err != nil {
		b.t.Fatal(err)
	}
	defer ch.Close()
	return f(ch)
}

func (b *broker) must(f func(*amqp.Channel) error) {
	b.t.Helper()
	if err := b.do(f); err != nil {
		b.t.Fatal(err)
	}
}

// exists reports whether there is a queue.
func (b *broker) exists(queue string) bool {
	return b.do(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		return err
	}) == nil
}

// consume hands on what a queue holds and gets, until the test is over.
func (b *broker) consume(queue string) <-chan amqp.Delivery {
	b.t.Helper()
	ch, err := b.Channel()
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { ch.Close() })
	got, err := ch.Consume(queue, "", true, false, false, false, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

// next is the next message of a consumer.
func next(t testing.TB, got <-chan amqp.Delivery) amqp.Delivery {
	t.Helper()
	select {
	case d := <-got:
		return d
	case <-time.After(sinktest.Patience):
		t.Fatal("nothing arrived")
		panic("unreachable")
	}
}

// start makes and starts a sink that is closed with the test.
func start(t testing.TB, c rabbitmq.Config, hosts ...sink.Host) *rabbitmq.Sink {
	t.Helper()
	return sinktest.Start(t, rabbitmq.New, c, hosts...)
}

// proxied returns a proxy of the broker, and the URI that leads through it.
func (b *broker) proxied() (*sinktest.Proxy, string) {
	b.t.Helper()
	u, err := url.Parse(b.uri)
	if err != nil {
		b.t.Fatal(err)
	}
	p := sinktest.NewProxy(b.t, u.Host)
	u.Host = p.Address
	return p, u.String()
}

func body(t testing.TB, b []byte) (envelope map[string]any) {
	t.Helper()
	if err := json.Unmarshal(b, &envelope); err != nil {
		t.Fatalf("the body is no JSON: %v: %s", err, b)
	}
	return envelope
}
