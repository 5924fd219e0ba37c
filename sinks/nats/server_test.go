package nats_test

import (
	"cmp"
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/nats"
)

// service returns the address of the real server at EVOSINK_TEST_NATS, and a connection to it.
func service(t testing.TB) (uri string, conn *natsgo.Conn) {
	t.Helper()
	uri = cmp.Or(os.Getenv("EVOSINK_TEST_NATS"), "nats://127.0.0.1:4222")
	conn, err := natsgo.Connect(uri)
	if err != nil {
		if os.Getenv("EVOSINK_REQUIRE_SERVICES") == "1" {
			t.Fatalf("NATS is required and cannot be reached: %v", err)
		}
		t.Skipf("no NATS (set EVOSINK_TEST_NATS): %v", err)
	}
	t.Cleanup(conn.Close)
	return uri, conn
}

// local runs a server in this process, for what the real one would have to be configured for. Port 0 is any.
func local(t testing.TB, change func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, MaxPayload: 1 << 20}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(sinktest.Patience) {
		t.Fatal("the server does not start")
	}
	t.Cleanup(func() { stop(s) })
	return s
}

func stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func stored(t testing.TB) func(*server.Options) {
	dir := t.TempDir()
	return func(o *server.Options) { o.JetStream, o.StoreDir = true, dir }
}

// connect is a client beside the sink.
func connect(t testing.TB, uri string, options ...natsgo.Option) *natsgo.Conn {
	t.Helper()
	conn, err := natsgo.Connect(uri, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func subscribe(t testing.TB, conn *natsgo.Conn, subject string) *natsgo.Subscription {
	t.Helper()
	sub, err := conn.SubscribeSync(subject)
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func next(t testing.TB, sub *natsgo.Subscription) *natsgo.Msg {
	t.Helper()
	m, err := sub.NextMsg(sinktest.Patience)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// config is that of a sink at an address.
func config(uri string) nats.Config {
	c := nats.Defaults()
	c.Enabled, c.URI, c.ReconnectMax = true, uri, time.Second
	return c
}

// start makes and starts a sink that is closed with the test.
func start(t testing.TB, c nats.Config, log ...zerolog.Logger) *nats.Sink {
	t.Helper()
	h := sink.Host{Logger: zerolog.Nop(), Directory: sinktest.Directory{}}
	if len(log) > 0 {
		h.Logger = log[0]
	}
	return sinktest.Start(t, nats.New, c, h)
}

// stream returns a JetStream client that deletes the stream when the test is over.
func stream(t testing.TB, conn *natsgo.Conn, name string) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { js.DeleteStream(context.Background(), name) })
	return js
}

// idOf reads the event's id from an envelope.
func idOf(t testing.TB, m *natsgo.Msg) string {
	t.Helper()
	e, err := event.Decode(m.Data)
	if err != nil {
		t.Error(err)
		return ""
	}
	return e.ID
}

// arrivals collects the ids of what a subscription gets.
func arrivals(t *testing.T, conn *natsgo.Conn, subject string) func() []string {
	var mu sync.Mutex
	var ids []string
	sub, err := conn.Subscribe(subject, func(m *natsgo.Msg) {
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, idOf(t, m))
	})
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sub.Unsubscribe() })
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), ids...)
	}
}

func orderedFor(subject string) jetstream.OrderedConsumerConfig {
	return jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}}
}

// fetch returns the id of the next event of a consumer.
func fetch(t testing.TB, consumer jetstream.Consumer) string {
	t.Helper()
	m, err := consumer.Next(jetstream.FetchMaxWait(sinktest.Patience))
	if err != nil {
		t.Fatal(err)
	}
	e, err := event.Decode(m.Data())
	if err != nil {
		t.Fatal(err)
	}
	return e.ID
}
