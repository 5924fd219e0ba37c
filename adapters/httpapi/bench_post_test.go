//go:build unix

package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/sink"
)

// BenchmarkPost is the whole way in: the body of POST /events/{instance} becomes an entry of a log in memory and is
// handed to a live sink that does nothing with it. The events are a history of many small values, and a file as one
// long text. The processor time is that of the process; there is no network.
func BenchmarkPost(b *testing.B) {
	message := `{"key":{"remoteJid":"5511999999999@s.whatsapp.net","fromMe":false,"id":"3EB0%08X"},"pushName":"João",` +
		`"messageTimestamp":1761055239,"status":3,"message":{"conversation":"good morning, is the order on its way? 👋\n"}}`
	const most = 16<<20 - 1<<10 // with room for the envelope
	for name, size := range map[string]int{"1KiB": 1 << 10, "64KiB": 64 << 10, "16MiB": most} {
		var history strings.Builder
		for i := 0; history.Len() < size-len(message); i++ {
			fmt.Fprintf(&history, message+",", i)
		}
		for shape, data := range map[string]string{
			"history": "[" + strings.TrimSuffix(history.String(), ",") + "]",
			"file":    `{"base64":"` + strings.Repeat("iVBORw0KGgoAAAANSUhEUgAA/+8=", size/28) + `"}`,
		} {
			body := []byte(`{"event":"messages.upsert","data":` + data + `,"sender":"5511@s.whatsapp.net","apikey":null}`)
			b.Run(shape+"/"+name, func(b *testing.B) { benchmarkPost(b, body) })
		}
	}
}

func benchmarkPost(b *testing.B, body []byte) {
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	bus := engine.Bus()
	var handled atomic.Int64
	live := sink.Use(sink.Spec[switches]{
		Name: "live", Mode: sink.Live, Settings: sink.PlainSettings(),
		Defaults: func() switches { return switches{On: true} },
		Enabled:  func(*switches) bool { return true },
		Rule:     func(*switches) sink.Rule { return sink.Rule{Global: true} },
		New:      func(switches, sink.Host) (sink.Sink, error) { return counter{&handled}, nil },
	})
	var hub *core.Hub
	s := newServer(b, func(o *httpapi.Options) {
		o.Sinks = []*sink.Factory{live}
		hub, err = core.New(core.Options{Bus: bus, Instances: o.Registry, Sinks: o.Sinks, Logger: zerolog.Nop()})
		o.Emitter = hub
	})
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hub.Run(context.Background()) }()
	<-hub.Started()

	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	before := processorTime(b)
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPost, "/events/sales", bytes.NewReader(body))
		r.Header.Set("apikey", salesKey)
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != http.StatusCreated {
			b.Fatal(w.Code, w.Body)
		}
	}
	for handled.Load() < int64(b.N) {
		time.Sleep(100 * time.Microsecond)
	}
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
	if err := errors.Join(hub.Close(context.Background()), <-ended, bus.Close(context.Background())); err != nil {
		b.Fatal(err)
	}
}

// counter is a live sink that counts what it is given.
type counter struct{ handled *atomic.Int64 }

func (counter) Start(context.Context) error { return nil }
func (counter) Close(context.Context) error { return nil }
func (c counter) Deliver(context.Context, *sink.Delivery) error {
	c.handled.Add(1)
	return nil
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
