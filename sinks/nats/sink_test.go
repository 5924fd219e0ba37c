package nats_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/nats"
)

func TestContract(t *testing.T) {
	for _, mode := range []string{"core", "JetStream"} {
		t.Run(mode, func(t *testing.T) {
			uri, conn := service(t)
			c := config(uri)
			c.PrefixKey = "evosink-test." + event.NewID()
			if mode == "JetStream" {
				name := strings.ReplaceAll(c.PrefixKey, ".", "-")
				stream(t, conn, name)
				c.JetStream = nats.JetStream{Enabled: true, Stream: name, Subjects: []string{c.PrefixKey + ".>"}, Replicas: 1}
			}
			sinktest.Run(t, sinktest.Subject{
				Scope: sink.Global, Target: "global",
				New: func(t *testing.T, h sink.Host) sink.Sink {
					s, err := nats.New(c, h)
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
				Listen: func(t *testing.T, _ sink.Sink) func() []string {
					return arrivals(t, conn, c.PrefixKey+".messages.upsert")
				},
			})
		})
	}
}

// Evolution's subscribers ask for exactly these subjects (evolution.md 1.1, emit-time column).
func TestEventsGoWhereEvolutionPutsThem(t *testing.T) {
	uri, conn := service(t)
	instance := "evosink-test-" + event.NewID()
	c := config(uri)
	c.PrefixKey = instance + "-global"
	s := start(t, c)
	for _, k := range []struct {
		scope         sink.Scope
		name, subject string
	}{
		{sink.Instance, "messages.upsert", instance + ".messages.upsert"},
		{sink.Instance, "group-participants.update", instance + ".group-participants.update"},
		{sink.Global, "send.message.update", instance + "-global.send.message.update"},
		{sink.Global, "SendMessage", instance + "-global.sendmessage"},
	} {
		sub := subscribe(t, conn, k.subject)
		d := sinktest.NewDelivery(k.scope, instance, k.name)
		sinktest.Deliver(t, s, d)
		got := next(t, sub)
		want := fmt.Sprintf(`{"event":%q,"instance":%q,"data":{"pushName":"Ana <&> Zoë"},"server_url":"https://api.example",`+
			`"date_time":"2025-10-21T14:00:39.512Z","sender":"5511999990000@s.whatsapp.net","apikey":null,"id":%q}`, k.name, instance, d.Event.ID)
		if string(got.Data) != want {
			t.Errorf("body\n%s\nwant\n%s", got.Data, want)
		}
		if got.Header.Get("Nats-Msg-Id") != d.Key {
			t.Errorf("header %v", got.Header)
		}
	}
}

func TestANameThatBreaksSubjectsIsEscapedAndTheLogSaysSoOnce(t *testing.T) {
	srv := local(t, nil)
	sub := subscribe(t, connect(t, srv.ClientURL()), "Loja%201.call")
	var log bytes.Buffer
	s := start(t, config(srv.ClientURL()), zerolog.New(zerolog.SyncWriter(&log)))
	for range 3 {
		sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Instance, "Loja 1", "call"))
		next(t, sub)
	}
	s.Close(t.Context())
	if n := strings.Count(log.String(), "Loja%201.>"); n != 1 {
		t.Errorf("the log says so %d times: %s", n, log.String())
	}
}

func TestAnEventThatIsTooLargeIsPermanentAndHoldsUpItsLaneOnly(t *testing.T) {
	srv := local(t, func(o *server.Options) { o.MaxPayload = 1024 })
	sub := subscribe(t, connect(t, srv.ClientURL()), ">")
	s := start(t, config(srv.ClientURL()))
	large := sinktest.NewDelivery(sink.Instance, "a", "call")
	large.Event.Data = []byte(`"` + strings.Repeat("x", 2000) + `"`)
	b := sinktest.NewDelivery(sink.Instance, "b", "call")
	errs := s.DeliverBatch(t.Context(), []*sink.Delivery{large, sinktest.NewDelivery(sink.Instance, "a", "call"), b})
	if !sink.IsPermanent(errs[0]) || !strings.Contains(errs[0].Error(), "1024") || errs[1] == nil || errs[2] != nil {
		t.Errorf("got %v", errs)
	}
	if got := next(t, sub); got.Subject != "b.call" {
		t.Errorf("%s arrived", got.Subject)
	}
}

func TestTheStreamIsMadeAndKeepsWhatWasDelivered(t *testing.T) {
	srv := local(t, stored(t))
	c := config(srv.ClientURL())
	c.JetStream = nats.JetStream{Enabled: true, Stream: "EVENTS", MaxAge: time.Hour, MaxBytes: 1 << 20, Replicas: 1}
	s := start(t, c)
	d := sinktest.NewDelivery(sink.Instance, "sales", "messages.upsert")
	sinktest.Deliver(t, s, d)
	sinktest.Deliver(t, s, d) // a second attempt after a confirm that got lost
	sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Global, "sales", "group-participants.update"))

	js := stream(t, connect(t, srv.ClientURL()), "EVENTS")
	made, err := js.Stream(t.Context(), "EVENTS")
	if err != nil {
		t.Fatal(err)
	}
	info := made.CachedInfo()
	if info.State.Msgs != 2 {
		t.Errorf("%d events are stored, want 2", info.State.Msgs)
	}
	if info.Config.MaxAge != time.Hour || info.Config.MaxBytes != 1<<20 {
		t.Errorf("limits: %+v", info.Config)
	}
	m, err := made.GetLastMsgForSubject(t.Context(), "sales.messages.upsert")
	if err != nil || !bytes.Contains(m.Data, []byte(d.Event.ID)) {
		t.Errorf("%v, %v", m, err)
	}
}

func TestAStreamThatWasDeletedIsMadeAgain(t *testing.T) {
	srv := local(t, stored(t))
	c := config(srv.ClientURL())
	c.JetStream = nats.JetStream{Enabled: true, Stream: "EVENTS", Replicas: 1}
	s := start(t, c)
	sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Instance, "sales", "call"))
	js := stream(t, connect(t, srv.ClientURL()), "EVENTS")
	if err := js.DeleteStream(t.Context(), "EVENTS"); err != nil {
		t.Fatal(err)
	}
	d := sinktest.NewDelivery(sink.Instance, "sales", "call")
	err := s.Deliver(t.Context(), d)
	if err == nil || !strings.Contains(err.Error(), "no stream takes") || sink.IsPermanent(err) || sink.IsUnavailable(err) {
		t.Errorf("without it: %v", err)
	}
	sinktest.Deliver(t, s, d)
}

func TestWhatAStreamRefusesIsNoSuccess(t *testing.T) {
	srv := local(t, stored(t))
	conn := connect(t, srv.ClientURL())
	js := stream(t, conn, "EVENTS")
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "EVENTS", Subjects: []string{"sales.>"}, MaxMsgs: 1, Discard: jetstream.DiscardNew, MaxMsgSize: 600,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := config(srv.ClientURL())
	c.JetStream.Enabled = true
	s := start(t, c)
	large := sinktest.NewDelivery(sink.Instance, "sales", "call")
	large.Event.Data = []byte(`"` + strings.Repeat("x", 2000) + `"`)
	if err := s.Deliver(t.Context(), large); !sink.IsPermanent(err) {
		t.Errorf("larger than the stream takes: %v", err)
	}
	sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Instance, "sales", "call"))
	err = s.Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, "sales", "call"))
	if err == nil || sink.IsPermanent(err) || sink.IsUnavailable(err) {
		t.Errorf("a full stream: %v", err)
	}
}

func TestWithoutJetStreamOnTheServerTheSinkSaysSo(t *testing.T) {
	srv := local(t, nil)
	c := config(srv.ClientURL())
	c.Timeout = time.Second
	c.JetStream = nats.JetStream{Enabled: true, Stream: "EVENTS", Replicas: 1}
	if err := start(t, c).Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, "sales", "call")); err == nil || sink.IsPermanent(err) {
		t.Errorf("with a stream to make: %v", err)
	}
	c.JetStream.Stream = ""
	err := start(t, c).Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, "sales", "call"))
	if err == nil || !strings.Contains(err.Error(), "no stream takes") {
		t.Errorf("without: %v", err)
	}
}

// The server confirms what it refuses like everything else, and says beside it that it refused.
func TestARefusedSubjectIsNoSuccess(t *testing.T) {
	dir := stored(t)
	srv := local(t, func(o *server.Options) {
		dir(o)
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"good.>", "$JS.>"}},
			Subscribe: &server.SubjectPermission{Allow: []string{">"}},
		}}}
	})
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored %t", stored), func(t *testing.T) {
			c := config(srv.ClientURL())
			c.Username, c.Password, c.Timeout = "u", "p", 5*time.Second
			c.JetStream = nats.JetStream{Enabled: stored, Replicas: 1}
			if stored {
				c.JetStream.Stream = "EVENTS"
			}
			s := start(t, c)
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					err := s.Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, fmt.Sprint("bad-", i), "call"))
					if err == nil || !strings.Contains(err.Error(), "permission") || sink.IsPermanent(err) || sink.IsUnavailable(err) {
						t.Errorf("refused: %v", err)
					}
				})
				wg.Go(func() {
					if err := s.Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, "good", "call")); err != nil {
						t.Errorf("allowed: %v", err)
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestADeliveryEndsWithItsContextOrTheTimeout(t *testing.T) {
	uri := silentAfterConnect(t)
	c := config(uri)
	c.Timeout = 50 * time.Millisecond
	s := start(t, c)
	sinktest.Eventually(t, "connected", func() bool { return s.Check(t.Context()) == nil })
	if err := s.Deliver(context.Background(), sinktest.NewDelivery(sink.Instance, "sales", "call")); !errors.Is(err, context.DeadlineExceeded) || sink.IsUnavailable(err) {
		t.Errorf("no answer: %v", err)
	}
}
