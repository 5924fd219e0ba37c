package sqs_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/sqs"
)

func TestContract(t *testing.T) {
	var a *account
	sinktest.Run(t, sinktest.Subject{
		Scope: sink.Global, Target: "global",
		New: func(t *testing.T, h sink.Host) sink.Sink {
			a = newAccount(t)
			s, err := sqs.New(a.config(), h)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Listen: func(t *testing.T, _ sink.Sink) func() []string {
			return a.listen(t, a.name+"_messages_upsert.fifo").arrived
		},
	})
}

// These names exist in Evolution API's accounts (evolution.md 1.1, creation column).
func TestEventsGoWhereEvolutionMakesQueues(t *testing.T) {
	a := newAccount(t)
	for _, want := range []struct {
		scope                        sink.Scope
		instance, name, queue, group string
	}{
		{sink.Instance, a.name, "messages.upsert", a.name + "_messages_upsert.fifo", "evolution"},
		{sink.Instance, a.name, "group-participants.update", a.name + "_group_participants_update.fifo", "evolution"},
		{sink.Instance, a.name, "send.message.update", a.name + "_send_message_update.fifo", "evolution"},
		{sink.Global, "sales", "typebot.change-status", a.name + "_typebot_change_status.fifo", "evolution-typebot_change_status-sales"},
		{sink.Instance, a.name + " ü", "call", a.name + "_x20_xC3_xBC_call.fifo", "evolution"},
	} {
		t.Run(want.queue, func(t *testing.T) {
			d := sinktest.NewDelivery(want.scope, want.instance, want.name)
			sinktest.Deliver(t, start(t, a.config()), d)
			m := a.take(want.queue, 1)[0]
			if got := m.Attributes["MessageGroupId"]; got != want.group {
				t.Errorf("group %s, want %s", got, want.group)
			}
			if got := m.Attributes["MessageDeduplicationId"]; got != d.Key {
				t.Errorf("deduplication id %s", got)
			}
			for name, value := range map[string]string{"event": want.name, "instance": want.instance, "id": d.Event.ID, "key": d.Key, "attempt": "1"} {
				if got := attribute(m, name); got != value {
					t.Errorf("attribute %s is %q, want %q", name, got, value)
				}
			}
			body := fmt.Sprintf(`{"event":%q,"instance":%q,"dataType":"json","data":{"pushName":"Ana <&> Zoë"},"server":"evolution","server_url":"https://api.example",`+
				`"date_time":"2025-10-21T14:00:39.512Z","sender":"5511999990000@s.whatsapp.net","apikey":null,"id":%q}`, want.name, want.instance, d.Event.ID)
			if *m.Body != body {
				t.Errorf("body\n%s\nwant\n%s", *m.Body, body)
			}
		})
	}
}

func TestQueuesAreThoseOfEvolution(t *testing.T) {
	a := newAccount(t)
	s := start(t, a.config())
	sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Instance, a.name, "call"))
	sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Global, "sales", "labels.edit"))
	if got := a.attributes(a.name + "_call.fifo"); got["FifoQueue"] != "true" || got["ContentBasedDeduplication"] == "true" {
		t.Errorf("the instance's queue: %v", got)
	}
	if got := a.attributes(a.name + "_labels_edit.fifo"); got["FifoQueue"] != "true" || got["ContentBasedDeduplication"] != "true" {
		t.Errorf("the global queue: %v", got)
	}
}

func TestASingleQueueTakesEveryGlobalEvent(t *testing.T) {
	a := newAccount(t)
	c := a.config()
	c.ForceSingleQueue, c.ServerName = true, "api1"
	s := start(t, c)
	sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Global, "sales", "call"))
	sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Global, "Loja ü", "messages.upsert"))
	got := a.take(a.name+"_singlequeue.fifo", 2)
	if g := got[0].Attributes["MessageGroupId"]; g != "api1-singlequeue-sales" {
		t.Errorf("group %s", g)
	}
	if g := got[1].Attributes["MessageGroupId"]; len(g) != 64 {
		t.Errorf("group %s, want a digest of what cannot be one", g)
	}
}

func TestStandardQueuesHaveNoGroups(t *testing.T) {
	a := newAccount(t)
	c := a.config()
	c.FIFO = false
	sinktest.Deliver(t, start(t, c), sinktest.NewDelivery(sink.Instance, a.name, "call"))
	m := a.take(a.name+"_call", 1)[0]
	if m.Attributes["MessageGroupId"] != "" || attribute(m, "event") != "call" {
		t.Errorf("attributes %v", m.Attributes)
	}
}

func TestAnEventThatIsSentAgainIsThereOnce(t *testing.T) {
	a := newAccount(t)
	s := start(t, a.config())
	d := sinktest.NewDelivery(sink.Instance, a.name, "call")
	sinktest.Deliver(t, s, d)
	again := *d
	again.Attempt = 2
	sinktest.Deliver(t, s, &again)
	a.take(a.name+"_call.fifo", 1)
}

func TestABatchKeepsTheOrderOfEachGroup(t *testing.T) {
	a := newAccount(t)
	s := start(t, a.config())
	var batch []*sink.Delivery
	for i := range 40 {
		d := sinktest.NewDelivery(sink.Global, fmt.Sprintf("shop%d", i%4), "call")
		d.Event.ID = fmt.Sprintf("%s-%d-%03d", a.name, i%4, i)
		batch = append(batch, d)
	}
	for i, err := range s.DeliverBatch(t.Context(), batch) {
		if err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	last := map[string]string{}
	for _, m := range a.take(a.name+"_call.fifo", 40) {
		group, id := m.Attributes["MessageGroupId"], attribute(m, "id")
		if id < last[group] {
			t.Errorf("%s came after %s", id, last[group])
		}
		last[group] = id
	}
}

func TestNoncharactersAndHalvesOfPairsReachTheQueueEscaped(t *testing.T) {
	a := newAccount(t)
	d := sinktest.NewDelivery(sink.Instance, a.name, "call")
	d.Event.ID += "\ufffe"
	d.Event.Data = json.RawMessage("{\"a\uffff\":\"x\ufffe\uffffy \ufffd \\ud800 \\\\\"}")
	d.Event.Extras = json.RawMessage("{\"b\":\"\uffff\"}")
	sinktest.Deliver(t, start(t, a.config()), d)
	m := a.take(a.name+"_call.fifo", 1)[0]
	if strings.ContainsAny(*m.Body, "\ufffe\uffff") || !strings.Contains(*m.Body, `{"a\uffff":"x\ufffe\uffffy `+"\ufffd"+` \ufffd \\"}`) {
		t.Errorf("body %s", *m.Body)
	}
	var got struct {
		Data map[string]string
		B    string
	}
	if err := json.Unmarshal([]byte(*m.Body), &got); err != nil || got.Data["a\uffff"] != "x\ufffe\uffffy \ufffd \ufffd \\" || got.B != "\uffff" {
		t.Errorf("it is read as %+q, %v", got, err)
	}
	if id := attribute(m, "id"); strings.ContainsAny(id, "\ufffe\uffff") || !strings.HasSuffix(id, `\ufffe`) {
		t.Errorf("attribute id is %q", id)
	}
}

func TestQueuesAreThereBeforeTheFirstEvent(t *testing.T) {
	a := newAccount(t)
	c := a.config()
	c.GlobalEnabled, c.Events = true, sink.Switches{"GROUP_UPDATE": true, "TYPEBOT_CHANGE_STATUS": true, "CALL": false}
	start(t, c)
	for _, queue := range []string{a.name + "_groups_update.fifo", a.name + "_typebot_change_status.fifo"} {
		sinktest.Eventually(t, queue+" exists", func() bool { _, ok := a.find(queue); return ok })
	}
	if _, ok := a.find(a.name + "_call.fifo"); ok {
		t.Error("a queue was made for an event that is switched off")
	}
}

// watched is a directory with one instance that hands out who watches it.
type watched struct {
	sinktest.Directory
	changes chan func(sink.Change)
}

func (w *watched) Watch(f func(sink.Change)) func() { w.changes <- f; return func() {} }

func TestSettingsThatAskForQueuesGetThem(t *testing.T) {
	a := newAccount(t)
	d := &watched{changes: make(chan func(sink.Change), 1)}
	d.Settings = map[string]json.RawMessage{
		a.name:         json.RawMessage(`{"enabled":true,"events":["GROUP_UPDATE","CALL"]}`),
		a.name + "off": json.RawMessage(`{"enabled":false,"events":["CALL"]}`),
	}
	start(t, a.config(), sink.Host{Logger: zerolog.Nop(), Directory: d})
	changed := <-d.changes
	changed(sink.Change{Kind: sink.NewSetting, Instance: a.name + "off"})
	changed(sink.Change{Kind: sink.NewSetting, Instance: a.name})
	for _, queue := range []string{a.name + "_groups_update.fifo", a.name + "_call.fifo"} {
		sinktest.Eventually(t, queue+" exists", func() bool { _, ok := a.find(queue); return ok })
	}
	if _, ok := a.find(a.name + "off_call.fifo"); ok {
		t.Error("a queue was made for settings that are off")
	}
}

func TestWithCreateQueuesOffNothingIsCreated(t *testing.T) {
	a := newAccount(t)
	c := a.config()
	c.CreateQueues = false
	err := start(t, c).Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, a.name, "call"))
	if err == nil || !strings.Contains(err.Error(), "there is no queue "+a.name+"_call.fifo") || sink.IsPermanent(err) || sink.IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsTooLargeGoesToTheBucketByReference(t *testing.T) {
	a := newAccount(t)
	c := a.config()
	c.MaxPayloadSize = 4096
	c.S3 = sqs.S3{Enabled: true, Bucket: a.bucket(), Endpoint: a.url}
	d := large(sinktest.NewDelivery(sink.Instance, a.name, "call"), 5000)
	sinktest.Deliver(t, start(t, c), d)
	var body struct {
		Event, DataType, ID string
		Data                struct{ FileURL string }
	}
	if err := json.Unmarshal([]byte(*a.take(a.name+"_call.fifo", 1)[0].Body), &body); err != nil {
		t.Fatal(err)
	}
	if body.DataType != "s3" || body.Event != "call" || body.ID != d.Event.ID {
		t.Errorf("got %+v", body)
	}
	file := get(t, body.Data.FileURL)
	var whole struct {
		DataType string
		Data     json.RawMessage
	}
	if err := json.Unmarshal(file, &whole); err != nil || string(whole.Data) != string(d.Event.Data) || whole.DataType != "json" {
		t.Errorf("%v; the file begins %.200s", err, file)
	}
}

// get fetches an address as a consumer does: with nothing but the address.
func get(t *testing.T, url string) []byte {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport, Timeout: sinktest.Patience}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", r.Status, err)
	}
	return body
}

func TestNoAddressIsGivenOutForWhatTheBucketHasNot(t *testing.T) {
	a := newAccount(t)
	c := a.config()
	c.MaxPayloadSize = 4096
	c.S3 = sqs.S3{Enabled: true, Bucket: "nobodys-" + a.name, Endpoint: a.url}
	err := start(t, c).Deliver(t.Context(), large(sinktest.NewDelivery(sink.Instance, a.name, "call"), 5000))
	if err == nil || !strings.Contains(err.Error(), "bucket nobodys") || sink.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	if got := a.receive(a.name + "_call.fifo"); len(got) != 0 {
		t.Errorf("a message was sent: %s", *got[0].Body)
	}
}

func TestWhatSQSCannotTakeIsAPermanentFailure(t *testing.T) {
	a := newAccount(t)
	c := a.config()
	c.MaxPayloadSize = 4096
	s := start(t, c)
	for says, d := range map[string]*sink.Delivery{
		"SQS allows 80":  sinktest.NewDelivery(sink.Instance, strings.Repeat("x", 80), "call"),
		"set s3.enabled": large(sinktest.NewDelivery(sink.Instance, a.name, "call"), 5000),
	} {
		if err := s.Deliver(t.Context(), d); !sink.IsPermanent(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %s", err, says)
		}
	}
}

func TestTheOldClockAndTheTokenAreShownWhereConfigured(t *testing.T) {
	a := newAccount(t)
	h := sink.Host{Envelope: event.Codec{ExposeAPIKey: true, LocalTime: time.FixedZone("BRT", -3*3600)}}
	sinktest.Deliver(t, start(t, a.config(), h), sinktest.NewDelivery(sink.Instance, a.name, "call"))
	body := *a.take(a.name+"_call.fifo", 1)[0].Body
	if !strings.Contains(body, `"date_time":"2025-10-21T11:00:39.512Z"`) || !strings.Contains(body, `"apikey":"token"`) {
		t.Errorf("body %s", body)
	}
}

func TestAQueueThatWasDeletedIsMadeAgainForTheNextAttempt(t *testing.T) {
	a := newAccount(t)
	s := start(t, a.config())
	sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Instance, a.name, "call"))
	url, _ := a.find(a.name + "_call.fifo")
	a.delete(url)
	d := sinktest.NewDelivery(sink.Instance, a.name, "call")
	if err := s.Deliver(t.Context(), d); err == nil || sink.IsPermanent(err) || sink.IsUnavailable(err) {
		t.Fatalf("into a queue that is gone: %v", err)
	}
	sinktest.Deliver(t, s, d)
	if got := attribute(a.take(a.name+"_call.fifo", 1)[0], "id"); got != d.Event.ID {
		t.Errorf("got %s", got)
	}
}
