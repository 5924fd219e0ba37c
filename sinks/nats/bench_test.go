package nats_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/e2e/sinkbench"
	"github.com/evosink/evosink/sinks/nats"
)

const (
	workers = 32  // that deliver at once
	batch   = 100 // events of a batch
)

// Benchmark measures the sink beside the floor: the client library's publish loop with the same messages, that waits for the server as the sink
// does. one: each of 32 workers waits for its event. batch: one goroutine waits for a hundred.
func Benchmark(b *testing.B) {
	for _, stored := range []bool{false, true} {
		mode := "core"
		if stored {
			mode = "jetstream"
		}
		b.Run(mode, func(b *testing.B) {
			k := newKit(b, stored)
			b.Run("one/bare", func(b *testing.B) { share(b, func() { k.bare(b, 1) }) })
			b.Run("one/sink", func(b *testing.B) { share(b, func() { k.sink(b, 1) }) })
			b.Run("batch/bare", func(b *testing.B) {
				for b.Loop() {
					k.bare(b, batch)
				}
				perSecond(b, batch)
			})
			b.Run("batch/sink", func(b *testing.B) {
				for b.Loop() {
					k.sink(b, batch)
				}
				perSecond(b, batch)
			})
		})
	}
}

// A kit is a sink and a connection to the same server.
type kit struct {
	*nats.Sink
	conn       *natsgo.Conn
	js         jetstream.JetStream // nil in core mode
	deliveries []*sink.Delivery
	prefix     string
	subject    string
	data       []byte
}

func newKit(b *testing.B, stored bool) *kit {
	uri, conn := service(b)
	c := config(uri)
	k := &kit{conn: conn}
	instance := "evosink-test-" + event.NewID()
	if stored {
		k.js = stream(b, conn, instance)
		c.JetStream = nats.JetStream{Enabled: true, Stream: instance, MaxBytes: 8 << 20, Replicas: 1} // full before it begins, for all alike
	}
	k.Sink = start(b, c)
	for range batch {
		d := sinktest.NewDelivery(sink.Instance, instance, "call")
		d.Event.Data = []byte(`"` + strings.Repeat("x", 768) + `"`) // an envelope of about 1 KiB
		d.Key = ""                                                  // each is published many times: no doubles
		k.deliveries = append(k.deliveries, d)
	}
	sinktest.Deliver(b, k, k.deliveries[0])
	k.prefix, k.subject = instance, instance+".call"
	k.data = event.Codec{}.Append(nil, k.deliveries[0].Event)
	for range 100 {
		k.bare(b, batch)
	}
	return k
}

func (k *kit) sink(b *testing.B, n int) {
	for _, err := range k.DeliverBatch(context.Background(), k.deliveries[:n]) {
		if err != nil {
			b.Error(err)
		}
	}
}

func (k *kit) bare(b *testing.B, n int) {
	var acks []jetstream.PubAckFuture
	for range n {
		m := &natsgo.Msg{Subject: k.subject, Data: k.data, Header: natsgo.Header{jetstream.MsgIDHeader: {""}}}
		if k.js == nil {
			if err := k.conn.PublishMsg(m); err != nil {
				b.Error(err)
			}
			continue
		}
		ack, err := k.js.PublishMsgAsync(m)
		if err != nil {
			b.Error(err)
			return
		}
		acks = append(acks, ack)
	}
	if k.js == nil {
		if err := k.conn.FlushTimeout(10 * time.Second); err != nil {
			b.Error(err)
		}
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			b.Error(err)
		}
	}
}

// share runs f b.N times on workers goroutines.
func share(b *testing.B, f func()) {
	var wg sync.WaitGroup
	left := make(chan struct{}, workers)
	for range workers {
		wg.Go(func() {
			for range left {
				f()
			}
		})
	}
	b.ResetTimer()
	for range b.N {
		left <- struct{}{}
	}
	close(left)
	wg.Wait()
	perSecond(b, 1)
}

func perSecond(b *testing.B, each int) {
	b.ReportMetric(float64(b.N*each)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkEndToEnd is the whole way through the durable queue, beside the bare loop by one goroutine.
func BenchmarkEndToEnd(b *testing.B) {
	for _, stored := range []bool{false, true} {
		mode := "core"
		if stored {
			mode = "jetstream"
		}
		b.Run(mode, func(b *testing.B) {
			k := newKit(b, stored)
			uri, _ := service(b)
			f := sink.Use(nats.Spec, func(c *nats.Config) {
				*c = config(uri)
				c.GlobalEnabled, c.GlobalEvents, c.PrefixKey = true, []string{sinkbench.Name}, k.prefix+"-global"
				if stored {
					c.JetStream = nats.JetStream{Enabled: true, Stream: c.PrefixKey, Subjects: []string{c.PrefixKey + ".>"}, MaxBytes: 8 << 20, Replicas: 1}
					stream(b, k.conn, c.PrefixKey) // is deleted with the benchmark
				}
			})
			sinkbench.Run(b, f, batch, func(n, atOnce int) error {
				for ; n > 0; n -= atOnce {
					k.bare(b, min(n, atOnce))
				}
				return nil
			})
		})
	}
}
