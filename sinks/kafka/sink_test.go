package kafka_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/kafka"
)

func TestContract(t *testing.T) {
	const topic = "evolution.global.messages.upsert"
	var c *kfake.Cluster
	sinktest.Run(t, sinktest.Subject{
		Scope: sink.Global, Target: "global",
		New: func(t *testing.T, h sink.Host) sink.Sink {
			c = cluster(t, kfake.SeedTopics(1, topic))
			s, err := kafka.New(config(c), h)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Listen: func(t *testing.T, _ sink.Sink) func() []string { return consume(t, c, topic).ids },
	})
}

// Evolution's consumers look at exactly these names (evolution.md 1.1, emit-time column).
func TestEventsGoWhereEvolutionPutsThem(t *testing.T) {
	c := cluster(t)
	s := start(t, config(c))
	for _, want := range []struct {
		scope                      sink.Scope
		instance, name, topic, key string
	}{
		{sink.Instance, "sales", "messages.upsert", "evolution.sales.messages.upsert", "sales"},
		{sink.Instance, "sales", "group-participants.update", "evolution.sales.group-participants.update", "sales"},
		{sink.Global, "sales", "typebot.change-status", "evolution.global.typebot.change-status", "sales-typebot.change-status"},
		{sink.Global, "sales", "SendMessage", "evolution.global.sendmessage", "sales-SendMessage"},
		{sink.Instance, "Loja 1 ü", "my_own", "evolution.Loja_x201_x20_xC3_xBC.custom", "Loja 1 ü"},
	} {
		t.Run(want.scope.String()+" "+want.name, func(t *testing.T) {
			d := delivery(want.scope, want.instance, want.name)
			sinktest.Deliver(t, s, d)
			r := consume(t, c, want.topic).wait(t, 1)[0]
			if string(r.Key) != want.key || !r.Timestamp.Equal(d.Event.Time) {
				t.Errorf("key %q, timestamp %v", r.Key, r.Timestamp)
			}
			got := fmt.Sprint(headers(r))
			if wanted := fmt.Sprintf("[event=%s instance=%s origin=BaileysStartupService timestamp=2025-10-21T14:00:39.512Z id=%s key=%s]", want.name, want.instance, d.Event.ID, d.Key); got != wanted {
				t.Errorf("headers %s\nwant    %s", got, wanted)
			}
			wanted := fmt.Sprintf(`{"event":%q,"instance":%q,"data":{"pushName":"Ana <&> Zoë"},"server_url":"https://api.example",`+
				`"date_time":"2025-10-21T14:00:39.512Z","sender":"5511999990000@s.whatsapp.net","apikey":null,"timestamp":1761055239512,"id":%q}`,
				want.name, want.instance, d.Event.ID)
			if string(r.Value) != wanted {
				t.Errorf("value\n%s\nwant\n%s", r.Value, wanted)
			}
		})
	}
}

func headers(r *kgo.Record) (out []string) {
	for _, h := range r.Headers {
		out = append(out, h.Key+"="+string(h.Value))
	}
	return out
}

func TestTheOldClockAndTheTokenAreShownWhereConfigured(t *testing.T) {
	c := cluster(t)
	h := sink.Host{Envelope: event.Codec{ExposeAPIKey: true, LocalTime: time.FixedZone("BRT", -3*3600)}}
	sinktest.Deliver(t, start(t, config(c), h), delivery(sink.Global, "sales", "call"))
	r := consume(t, c, "evolution.global.call").wait(t, 1)[0]
	if !strings.Contains(string(r.Value), `"date_time":"2025-10-21T11:00:39.512Z"`) || !strings.Contains(string(r.Value), `"apikey":"token"`) {
		t.Errorf("value %s", r.Value)
	}
	if got := header(r, "timestamp"); got != "2025-10-21T11:00:39.512Z" {
		t.Errorf("header timestamp is %s", got)
	}
}

func TestTopicsAreCreatedOnDemandOnlyIfConfigured(t *testing.T) {
	c := bare(t)
	err := start(t, config(c)).Deliver(t.Context(), delivery(sink.Instance, "sales", "call"))
	if err == nil || !strings.Contains(err.Error(), "no topic evolution.sales.call") || sink.IsPermanent(err) || sink.IsUnavailable(err) {
		t.Fatalf("without the topic: %v", err)
	}
	conf := config(c)
	conf.AutoCreateTopics, conf.NumPartitions = true, 3
	sinktest.Deliver(t, start(t, conf), delivery(sink.Instance, "sales", "call"))
	if got := topicsOf(t, c)["evolution.sales.call"].Partitions; len(got) != 3 {
		t.Errorf("the topic has %d partitions, want 3", len(got))
	}
}

func topicsOf(t *testing.T, c *kfake.Cluster) kadm.TopicDetails {
	t.Helper()
	client, err := kadm.NewOptClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	list, err := client.ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestGlobalTopicsAreThereBeforeTheFirstEvent(t *testing.T) {
	c := cluster(t)
	conf := config(c)
	conf.GlobalEnabled, conf.AutoCreateTopics = true, true
	conf.Events = sink.Switches{"GROUP_UPDATE": true, "GROUP_PARTICIPANTS_UPDATE": true, "CALL": false}
	start(t, conf)
	for _, name := range []string{"evolution.global.groups.update", "evolution.global.group-participants.update"} {
		sinktest.Eventually(t, name+" exists", func() bool { return topicsOf(t, c).Has(name) })
	}
	if topicsOf(t, c).Has("evolution.global.call") {
		t.Error("a topic was made for an event that is switched off")
	}
}

func TestATopicThatWasDeletedIsMadeAgainForALaterAttempt(t *testing.T) {
	c := cluster(t)
	conf := config(c)
	conf.AutoCreateTopics = true
	s := start(t, conf)
	sinktest.Deliver(t, s, delivery(sink.Instance, "sales", "call"))
	client, err := kadm.NewOptClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.DeleteTopics(t.Context(), "evolution.sales.call"); err != nil {
		t.Fatal(err)
	}
	d := delivery(sink.Instance, "sales", "call")
	sinktest.Eventually(t, "an attempt succeeds", func() bool {
		err := s.Deliver(t.Context(), d)
		if sink.IsPermanent(err) {
			t.Fatal(err)
		}
		return err == nil
	})
	if got := consume(t, c, "evolution.sales.call").wait(t, 1)[0]; header(got, "id") != d.Event.ID {
		t.Errorf("got %s", header(got, "id"))
	}
}

func TestWhatKafkaCannotTakeIsAPermanentFailure(t *testing.T) {
	s := start(t, config(cluster(t)))
	large := delivery(sink.Instance, "sales", "call")
	large.Event.Data = []byte(`"` + strings.Repeat("x", 1_000_012) + `"`)
	for what, d := range map[string]*sink.Delivery{
		"max_message_bytes is 1000012": large,
		"Kafka allows 249":             delivery(sink.Instance, strings.Repeat("x", 240), "messages.upsert"),
	} {
		if err := s.Deliver(t.Context(), d); !sink.IsPermanent(err) || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want %s", err, what)
		}
	}
}

func TestABatchStopsTheLaneThatFailsAndNoOther(t *testing.T) {
	c := cluster(t)
	s := start(t, config(c))
	bad := delivery(sink.Instance, strings.Repeat("x", 240), "messages.upsert")
	behind := delivery(sink.Instance, bad.Event.Instance, "call")
	batch := []*sink.Delivery{delivery(sink.Instance, "sales", "call"), bad, behind, delivery(sink.Instance, "sales", "call")}
	errs := s.DeliverBatch(t.Context(), batch)
	if errs[0] != nil || errs[3] != nil || !sink.IsPermanent(errs[1]) || errs[2] == nil || sink.IsPermanent(errs[2]) {
		t.Fatalf("got %v", errs)
	}
	got := consume(t, c, "evolution.sales.call").wait(t, 2)
	if header(got[0], "id") != batch[0].Event.ID || header(got[1], "id") != batch[3].Event.ID {
		t.Error("the healthy lane's order is lost")
	}
}

func TestABatchIsFewRequestsAndKeepsItsOrder(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "evolution.sales.call"))
	var mu sync.Mutex
	requests := 0
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if requests++; r.(*kmsg.ProduceRequest).Acks != -1 {
			t.Errorf("acks is %d, want all (-1)", r.(*kmsg.ProduceRequest).Acks)
		}
		return nil, nil, false
	})
	s := start(t, config(c))
	sinktest.Deliver(t, s, delivery(sink.Instance, "sales", "call"))
	var batch []*sink.Delivery
	for range 500 {
		batch = append(batch, delivery(sink.Instance, "sales", "call"))
	}
	for i, err := range s.DeliverBatch(t.Context(), batch) {
		if err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	got := consume(t, c, "evolution.sales.call").wait(t, 501)[1:]
	for i, d := range batch {
		if header(got[i], "id") != d.Event.ID {
			t.Fatalf("event %d is %s, want %s", i, header(got[i], "id"), d.Event.ID)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if requests > 100 {
		t.Errorf("501 events took %d requests", requests)
	}
}

func TestTheBrokersAnswersDecideWhatBecomesOfAnEvent(t *testing.T) {
	for _, want := range []struct {
		code                   *kerr.Error
		says                   string
		permanent, unavailable bool
	}{
		{kerr.TopicAuthorizationFailed, "may not write", false, false},
		{kerr.MessageTooLarge, "lower that", false, false},
		{kerr.InvalidRecord, "INVALID_RECORD", true, false},
		{kerr.NotEnoughReplicas, "not acknowledge the event in time", false, true}, // again and again until the time is up
	} {
		t.Run(want.code.Message, func(t *testing.T) {
			c := cluster(t, kfake.SeedTopics(1, "evolution.sales.call"))
			c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				return refuse(r.(*kmsg.ProduceRequest), want.code), nil, true
			})
			conf := config(c)
			if want.unavailable {
				conf.RequestTimeout = 2 * time.Second
			}
			err := start(t, conf).Deliver(t.Context(), delivery(sink.Instance, "sales", "call"))
			if err == nil || !strings.Contains(err.Error(), want.says) || sink.IsPermanent(err) != want.permanent || sink.IsUnavailable(err) != want.unavailable {
				t.Errorf("got %v", err)
			}
		})
	}
}

// refuse answers a produce request with an error for every partition.
func refuse(r *kmsg.ProduceRequest, code *kerr.Error) kmsg.Response {
	out := r.ResponseKind().(*kmsg.ProduceResponse)
	for _, topic := range r.Topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic, t.TopicID = topic.Topic, topic.TopicID
		for _, partition := range topic.Partitions {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition, p.ErrorCode = partition.Partition, code.Code
			t.Partitions = append(t.Partitions, p)
		}
		out.Topics = append(out.Topics, t)
	}
	return out
}

func TestNoBrokerMakesDeliveriesFailAtOnce(t *testing.T) {
	c, gate := gatedCluster(t)
	gate.set(true)
	var log logbook
	s := start(t, config(c), sink.Host{Logger: zerolog.New(&log)})
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), sinktest.Patience)
		err := s.Deliver(ctx, delivery(sink.Instance, "sales", "call"))
		if !sink.IsUnavailable(err) || ctx.Err() != nil {
			t.Errorf("got %v", err)
		}
		cancel()
	}
	if since, last := s.Connection(); s.Check(t.Context()) == nil || !since.IsZero() || last == nil {
		t.Errorf("Check is nil, or Connection %v, %v", since, last)
	}
	gate.set(false)
	d := delivery(sink.Instance, "sales", "call")
	sinktest.Eventually(t, "an attempt succeeds", func() bool { return s.Deliver(t.Context(), d) == nil })
	if since, _ := s.Connection(); s.Check(t.Context()) != nil || since.IsZero() {
		t.Error("the sink does not know that it is connected")
	}
	if n := strings.Count(log.String(), "not connected; events wait"); n != 1 {
		t.Errorf("the log says %d times that the broker is away", n)
	}
}

// Events are retried here as the queue does: the head of a lane until it is taken.
func TestABrokerThatComesAndGoesLosesNothingAndKeepsTheOrder(t *testing.T) {
	c, gate := gatedCluster(t)
	s := start(t, config(c))
	ctx, cancel := context.WithTimeout(t.Context(), sinktest.Patience)
	defer cancel()
	const lanes, each = 4, 60
	var wg sync.WaitGroup
	for lane := range lanes {
		wg.Go(func() {
			for i := range each {
				d := delivery(sink.Instance, fmt.Sprintf("shop-%d", lane), "call")
				d.Event.ID = fmt.Sprintf("%d-%03d", lane, i)
				for ctx.Err() == nil && s.Deliver(ctx, d) != nil {
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	for range 5 {
		time.Sleep(30 * time.Millisecond)
		gate.set(true)
		time.Sleep(30 * time.Millisecond)
		gate.set(false)
	}
	wg.Wait()
	for lane := range lanes {
		got := consume(t, c, fmt.Sprintf("evolution.shop-%d.call", lane))
		last := fmt.Sprintf("%d-%03d", lane, each-1)
		sinktest.Eventually(t, "the last event arrives", func() bool { ids := got.ids(); return len(ids) > 0 && ids[len(ids)-1] == last })
		seen := map[string]bool{}
		highest := ""
		for _, id := range got.ids() {
			if id < highest {
				t.Errorf("%s arrived after %s", id, highest)
			}
			seen[id], highest = true, max(highest, id)
		}
		if len(seen) != each {
			t.Errorf("%d of %d events arrived", len(seen), each)
		}
	}
}

func TestABrokerThatHangsDoesNotHoldADelivery(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "evolution.sales.call"))
	free := make(chan struct{})
	arrived := make(chan struct{}, 1)
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		arrived <- struct{}{}
		<-free // the whole cluster hangs; a control that sleeps may leave a goroutine behind when the cluster closes
		return nil, nil, false
	})
	defer close(free)
	s := start(t, config(c))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	began := time.Now()
	if err := s.Deliver(ctx, delivery(sink.Instance, "sales", "call")); err == nil {
		t.Error("what was not acknowledged counts as delivered")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the delivery took %v after its context had ended", took)
	}
}

func TestCloseEndsWhatDoesNotEndByItself(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "evolution.sales.call"))
	free := make(chan struct{})
	arrived := make(chan struct{}, 1)
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		arrived <- struct{}{}
		<-free // the whole cluster hangs; a control that sleeps may leave a goroutine behind when the cluster closes
		return nil, nil, false
	})
	defer close(free)
	s := start(t, config(c))
	result := make(chan error, 1)
	go func() { result <- s.Deliver(context.Background(), delivery(sink.Instance, "sales", "call")) }()
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := <-result; !sink.IsUnavailable(err) {
		t.Errorf("the delivery under way ended with %v", err)
	}
	if err := s.Deliver(t.Context(), delivery(sink.Instance, "sales", "call")); !sink.IsUnavailable(err) || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
}
