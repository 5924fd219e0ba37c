package kafka_test

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/kafka"
)

// cluster starts a cluster of one broker that creates topics when asked to, as Kafka does by default.
func cluster(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	return bare(t, append([]kfake.Opt{kfake.AllowAutoTopicCreation()}, opts...)...)
}

// bare starts a cluster that creates no topics by itself.
func bare(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.DefaultNumPartitions(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// config is that of a sink of the cluster.
func config(c *kfake.Cluster) kafka.Config {
	config := kafka.Defaults()
	config.Enabled, config.Brokers, config.ReconnectMax = true, c.ListenAddrs(), time.Second
	return config
}

// start makes and starts a sink that is closed with the test.
func start(t testing.TB, c kafka.Config, hosts ...sink.Host) *kafka.Sink {
	t.Helper()
	return sinktest.Start(t, kafka.New, c, hosts...)
}

// delivery is an event on its way to an instance's topic, or with scope Global to the global one.
func delivery(scope sink.Scope, instance, name string) *sink.Delivery {
	d := sinktest.NewDelivery(scope, instance, name)
	d.Event.Origin = "BaileysStartupService"
	return d
}

// A consumer reads topics from their beginning.
type consumer struct {
	client *kgo.Client
	done   chan struct{}

	mu sync.Mutex
	// mu guards the field below.
	records []*kgo.Record
}

func consume(t testing.TB, c *kfake.Cluster, topics ...string) *consumer {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(50*time.Millisecond), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	in := &consumer{client: client, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(in.done)
		for ctx.Err() == nil {
			fetches := client.PollFetches(ctx)
			in.mu.Lock()
			in.records = append(in.records, fetches.Records()...)
			in.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-in.done
		client.Close()
	})
	return in
}

func (c *consumer) all() []*kgo.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*kgo.Record(nil), c.records...)
}

// ids are the ids of the events read so far.
func (c *consumer) ids() (ids []string) {
	for _, r := range c.all() {
		ids = append(ids, header(r, "id"))
	}
	return ids
}

// wait returns the first n records.
func (c *consumer) wait(t testing.TB, n int) []*kgo.Record {
	t.Helper()
	sinktest.Eventually(t, "the records arrive", func() bool { return len(c.all()) >= n })
	return c.all()
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// A gated listener lets a test take the broker away, as if its machine were, and give it back with all it has stored.
type gated struct {
	net.Listener
	mu sync.Mutex
	// mu guards the fields below.
	away  bool
	conns []net.Conn
}

func (g *gated) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		if !g.away {
			g.conns = append(g.conns, c)
			g.mu.Unlock()
			return c, nil
		}
		g.mu.Unlock()
		c.Close()
	}
}

func (g *gated) set(away bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away = away
	if away {
		for _, c := range g.conns {
			c.Close()
		}
		g.conns = nil
	}
}

// gatedCluster is a cluster behind a gated listener.
func gatedCluster(t testing.TB) (*kfake.Cluster, *gated) {
	g := &gated{}
	c := cluster(t, kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		g.Listener = l
		return g, err
	}))
	return c, g
}

// A logbook holds what a sink logs.
type logbook struct {
	mu sync.Mutex
	// mu guards the field below.
	text strings.Builder
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
