package pusher_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/pusher"
)

func TestContract(t *testing.T) {
	var s *server
	sinktest.Run(t, sinktest.Subject{
		Scope: sink.Instance, Target: "instance", Settings: settings(),
		New: func(t *testing.T, h sink.Host) sink.Sink {
			s = newServer(t)
			c := s.config()
			c.GlobalEnabled, c.AppID, c.Key, c.Secret = false, "", "", ""
			it, err := pusher.New(c, h)
			if err != nil {
				t.Fatal(err)
			}
			return it
		},
		Listen: func(*testing.T, sink.Sink) func() []string {
			return func() (ids []string) {
				for _, g := range s.got() {
					var envelope struct{ ID string }
					json.Unmarshal([]byte(g.Data), &envelope)
					ids = append(ids, envelope.ID)
				}
				return ids
			}
		},
	})
}

// The example of Pusher's HTTP API reference.
func TestTheSignatureIsThatOfPushersDocumentation(t *testing.T) {
	body := []byte(`{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}`)
	got := pusher.Sign("3", appKey, appSecret, "/apps/3/events", body, time.Unix(1353088179, 0))
	const want = "auth_key=278d425bdf160c739803&auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c" +
		"&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEventsGoWhereEvolutionPutsThem(t *testing.T) {
	for _, want := range []struct {
		scope                   sink.Scope
		instance, name, channel string
	}{
		{sink.Instance, "sales", "group-participants.update", "sales"},
		{sink.Global, "sales", "messages.upsert", "sales"},
		{sink.Global, "Loja 1/ü", "SendMessage", "Loja_x201_x2F_xC3_xBC"},
	} {
		s := newServer(t)
		d := delivery(want.scope, want.instance, want.name, `{"pushName":"Ana <&> Zoë"}`)
		sinktest.Deliver(t, start(t, s.config()), d)
		got := s.got()[0]
		if got.Channel != want.channel || got.Event != want.name {
			t.Errorf("%s on %s", got.Event, got.Channel)
		}
		data := fmt.Sprintf(`{"event":%q,"instance":%q,"data":{"pushName":"Ana <&> Zoë"},"destination":"4711","date_time":"2025-10-21T14:00:39.512Z",`+
			`"sender":"5511999990000@s.whatsapp.net","server_url":"https://api.example","apikey":null,"id":%q}`, want.name, want.instance, d.Event.ID)
		if got.Data != data {
			t.Errorf("data\n%s\nwant\n%s", got.Data, data)
		}
	}
}

func TestTheDestinationIsTheInstancesAppAlsoOnTheGlobalOne(t *testing.T) {
	s := newServer(t)
	d := delivery(sink.Global, "sales", "call", `{}`)
	d.Settings = json.RawMessage(`{"enabled":false,"appId":"99"}`)
	sinktest.Deliver(t, start(t, s.config()), d)
	if got := s.got()[0].Data; !strings.Contains(got, `"destination":"99"`) {
		t.Errorf("got %s", got)
	}
}

func TestTheOldClockAndTheTokenAreShownWhereConfigured(t *testing.T) {
	s := newServer(t)
	h := sink.Host{Envelope: event.Codec{ExposeAPIKey: true, LocalTime: time.FixedZone("BRT", -3*3600)}}
	sinktest.Deliver(t, start(t, s.config(), h), delivery(sink.Global, "sales", "call", `{}`))
	if got := s.got()[0].Data; !strings.Contains(got, `"date_time":"2025-10-21T11:00:39.512Z"`) || !strings.Contains(got, `"apikey":"token"`) {
		t.Errorf("got %s", got)
	}
}

func TestTheQRImageIsLeftOutOfACopy(t *testing.T) {
	s := newServer(t)
	const data = `{"qrcode":{"instance":"sales","code":"2@k<q>","base64":"data:image/png;base64,iVBORw0KGgo"}}`
	d := delivery(sink.Global, "sales", "qrcode.updated", data)
	it := start(t, s.config())
	sinktest.Deliver(t, it, d)
	if got := s.got()[0].Data; !strings.Contains(got, `"data":{"qrcode":{"code":"2@k<q>","instance":"sales"}}`) {
		t.Errorf("got %s", got)
	}
	if string(d.Event.Data) != data {
		t.Error("the shared event has lost its image")
	}
	limit := delivery(sink.Global, "sales", "qrcode.updated", `{"message":"QR code limit reached, please login again","statusCode":500}`)
	sinktest.Deliver(t, it, limit) // it has no qrcode, on which Evolution API fails
	if got := s.got()[1].Data; !strings.Contains(got, `"data":{"message":"QR code limit reached, please login again","statusCode":500}`) {
		t.Errorf("got %s", got)
	}
}

func TestAnEventThatIsTooLargeLosesItsMedia(t *testing.T) {
	s := newServer(t)
	it := start(t, s.config())
	blob := strings.Repeat("x", 6000)
	for _, want := range [][2]string{
		{`{"message":{"base64":"small","text":"oi"}}`, `{"message":{"base64":"small","text":"oi"}}`}, // fits as it is
		{`{"message":{"base64":"` + blob + blob + `","text":"oi & <b>"}}`, `{"message":{"text":"oi & <b>"}}`},
		{`[{"image":{"jpegThumbnail":{"0":1},"n":12345678901234567890}},{"base64":"` + blob + blob + `"}]`, `[{"image":{"n":12345678901234567890}},{}]`},
	} {
		sinktest.Deliver(t, it, delivery(sink.Global, "sales", "messages.upsert", want[0]))
		got := s.got()
		if last := got[len(got)-1].Data; !strings.Contains(last, `"data":`+want[1]+`,`) {
			t.Errorf("got %s", last)
		}
	}
	for _, data := range []string{`{"text":"` + blob + blob + `"}`, `{"text":"` + blob + blob + `","base64":"x"}`} {
		err := it.Deliver(t.Context(), delivery(sink.Global, "sales", "messages.upsert", data))
		if !sink.IsPermanent(err) || !strings.Contains(err.Error(), "without images and media, max_event_bytes is 10240") {
			t.Errorf("got %v", err)
		}
	}
}

func FuzzAnEventIsReducedToJSON(f *testing.F) {
	for _, seed := range []string{`{"base64":"x"}`, `{"a":[{"base64":1},"base64"]}`, `"base64"`, `[[[{"jpegThumbnail":null}]]]`, `{"\u0062ase64":1}`} {
		f.Add(seed)
	}
	s := newServer(f)
	c := s.config()
	it := start(f, c)
	f.Fuzz(func(t *testing.T, data string) {
		if !json.Valid([]byte(data)) || len(data) > 5000 {
			return
		}
		if err := it.Deliver(t.Context(), delivery(sink.Global, "sales", "qrcode.updated", data)); err != nil && !sink.IsPermanent(err) {
			t.Fatal(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, g := range s.triggered {
			if !json.Valid([]byte(g.Data)) {
				t.Fatalf("%q became %q", data, g.Data)
			}
		}
		s.triggered = nil
	})
}

func TestABatchIsFewRequestsAndKeepsItsOrder(t *testing.T) {
	s := newServer(t)
	var batch []*sink.Delivery
	for i := range 31 {
		batch = append(batch, delivery(sink.Global, fmt.Sprintf("shop%d", i%3), "call", fmt.Sprint(i)))
	}
	for i, err := range start(t, s.config()).DeliverBatch(t.Context(), batch) {
		if err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	if s.paths() != "batch_events batch_events batch_events events" {
		t.Errorf("requests: %s", s.paths())
	}
	for i, g := range s.got() {
		if !strings.Contains(g.Data, batch[i].Event.ID) {
			t.Fatalf("event %d is %s", i, g.Data)
		}
	}
}

func TestAnEventThatIsRefusedStopsItsChannelAndNoOther(t *testing.T) {
	s := newServer(t)
	s.refuse = func(body string) int {
		if strings.Contains(body, "poison") {
			return http.StatusBadRequest
		}
		return 0
	}
	var batch []*sink.Delivery
	for i := range 14 {
		text := fmt.Sprintf(`"%d"`, i)
		if i == 2 {
			text = `"poison"`
		}
		batch = append(batch, delivery(sink.Global, fmt.Sprintf("shop%d", i%2), "call", text))
	}
	for i, err := range start(t, s.config()).DeliverBatch(t.Context(), batch) {
		behind := i%2 == 0 && i > 2
		if i == 2 && !sink.IsPermanent(err) || behind && (err == nil || sink.IsPermanent(err)) || i != 2 && !behind && err != nil {
			t.Errorf("event %d: %v", i, err)
		}
	}
	if n := len(s.got()); n != 8 {
		t.Errorf("%d events arrived, want 8", n)
	}
}

func TestWhatPusherAnswersDecidesWhatBecomesOfAnEvent(t *testing.T) {
	for status, want := range map[int]struct{ permanent, unavailable bool }{
		400: {true, false}, 413: {true, false}, 401: {false, true}, 403: {false, true}, 429: {false, true}, 500: {false, true}, 503: {false, true},
		404: {false, false}, 302: {false, false},
	} {
		s := newServer(t)
		s.refuse = func(string) int { return status }
		ctx, said := sink.WithReports(t.Context())
		err := start(t, s.config()).Deliver(ctx, delivery(sink.Global, "sales", "call", `{}`))
		if err == nil || sink.IsPermanent(err) != want.permanent || sink.IsUnavailable(err) != want.unavailable || strings.Contains(err.Error(), "auth_") {
			t.Errorf("%d: %v", status, err)
		}
		if a := said(); a == nil || !strings.HasPrefix(a.Status, fmt.Sprint(status)) {
			t.Errorf("%d: reported %+v", status, a)
		}
	}
}

func TestAWrongSecretIsNotTheEventsFault(t *testing.T) {
	s := newServer(t)
	c := s.config()
	c.Secret = "wr0ng"
	err := start(t, c).Deliver(t.Context(), delivery(sink.Global, "sales", "call", `{}`))
	if !sink.IsUnavailable(err) || !strings.Contains(err.Error(), "key or secret of app 4711 is wrong") || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("got %v", err)
	}
}

func TestNobodyThereMakesDeliveriesUnavailable(t *testing.T) {
	s := newServer(t)
	s.Close()
	err := start(t, s.config()).Deliver(t.Context(), delivery(sink.Global, "sales", "call", `{}`))
	if !sink.IsUnavailable(err) || strings.Contains(err.Error(), "auth_signature") {
		t.Errorf("got %v", err)
	}
}

func TestWhatWaitsFollowsTheInstancesSettings(t *testing.T) {
	s := newServer(t)
	it := start(t, s.config())
	for _, want := range []struct {
		settings, says         string
		permanent, unavailable bool
	}{
		{``, "no app any more", true, false},
		{`{`, "read stored settings", true, false},
		{`{"enabled":true,"appId":"../1","key":"k","secret":"s","cluster":"eu"}`, "appId must be of", true, false},
		{strings.Replace(string(settings()), `"enabled":true`, `"enabled":false`, 1), "switched off", false, true},
	} {
		d := delivery(sink.Instance, "sales", "call", `{}`)
		d.Settings = json.RawMessage(want.settings)
		err := it.Deliver(t.Context(), d)
		if err == nil || !strings.Contains(err.Error(), want.says) || sink.IsPermanent(err) != want.permanent || sink.IsUnavailable(err) != want.unavailable {
			t.Errorf("%s: %v", want.settings, err)
		}
	}
}

func TestNamesThatPusherCannotCarryArePermanentFailures(t *testing.T) {
	it := start(t, newServer(t).config())
	for _, d := range []*sink.Delivery{
		delivery(sink.Global, strings.Repeat("x", 165), "call", `{}`),
		delivery(sink.Global, "sales", strings.Repeat("x", 201), `{}`),
	} {
		if err := it.Deliver(t.Context(), d); !sink.IsPermanent(err) {
			t.Errorf("got %v", err)
		}
	}
}

func TestCloseEndsWhatDoesNotEndByItself(t *testing.T) {
	arrived, over := make(chan struct{}), make(chan struct{})
	s := newServer(t)
	s.refuse = func(string) int { close(arrived); <-over; return 0 }
	defer close(over)
	it := start(t, s.config())
	result := make(chan error, 1)
	go func() { result <- it.Deliver(context.Background(), delivery(sink.Global, "sales", "call", `{}`)) }()
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := it.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := <-result; err == nil || sink.IsPermanent(err) || sink.IsUnavailable(err) {
		t.Errorf("the delivery under way ended with %v", err)
	}
	if err := it.Deliver(t.Context(), delivery(sink.Global, "sales", "call", `{}`)); !sink.IsUnavailable(err) || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
}

func TestAnAnswerThatIsNeverOverHoldsNothing(t *testing.T) {
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		<-over
	}))
	defer s.Close()
	defer close(over)
	c := (&server{Server: s}).config()
	it := start(t, c)
	result := make(chan error, 1)
	go func() { result <- it.Deliver(context.Background(), delivery(sink.Global, "sales", "call", `{}`)) }()
	select {
	case err := <-result:
		if err == nil || sink.IsPermanent(err) || !strings.Contains(err.Error(), "101") {
			t.Errorf("got %v", err)
		}
	case <-time.After(c.Timeout + 20*time.Second):
		t.Error("the delivery is held")
	}
}
