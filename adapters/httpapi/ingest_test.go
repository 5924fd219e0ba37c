package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/core/event"
)

// deadline is an emitter that tells how much time it was given.
type deadline func(left time.Duration)

func (d deadline) Emit(ctx context.Context, _ ...*event.Event) error {
	at, _ := ctx.Deadline()
	d(time.Until(at))
	return nil
}

const webhook = `{"event":"messages.upsert","instance":"sales","data":{"n":1.50},"destination":"https://x","date_time":"2025-10-21T11:00:39.512Z","sender":"5511@s.whatsapp.net","server_url":"https://api.example","apikey":null}`

func TestAWebhookOfEvolutionAPIIsEmittedOncePerContent(t *testing.T) {
	s := newServer(t)
	first := s.admin("POST", "/ingest/evolution", webhook)
	first.says(t, 201, `"id":"`)
	s.admin("POST", "/ingest/evolution/messages-upsert", webhook).is(t, 201, first.text)
	if len(s.hub.events) != 2 || s.hub.events[0].Instance != "sales" || string(s.hub.events[0].Data) != `{"n":1.50}` || s.hub.events[0].Origin != "evolution" {
		t.Errorf("%+v", s.hub.events)
	}
}

func TestAWebhookOfEvolutionGoIsEmitted(t *testing.T) {
	s := newServer(t)
	s.do("POST", "/ingest/evolution-go", `{"event":"Message","data":{},"instanceToken":"`+salesKey+`","instanceId":"0f6f","instanceName":"sales"}`).says(t, 201)
	if e := s.hub.events[0]; e.Name != "Message" || e.Instance != "sales" || e.APIKey != "" {
		t.Errorf("%+v", e)
	}
}

func TestKeysOfWebhooks(t *testing.T) {
	withKey := func(instance, key string) string {
		return `{"event":"call","instance":"` + instance + `","data":null,"apikey":"` + key + `"}`
	}
	for _, c := range []struct {
		name, query, body string
		header            []string
		status            int
	}{
		{"header", "", withKey("sales", ""), []string{"apikey", globalKey}, 201},
		{"bearer", "", withKey("sales", ""), []string{"Authorization", "Bearer " + salesKey}, 201},
		{"query", "?apikey=" + globalKey, withKey("sales", ""), nil, 201},
		{"query with the suffix behind it", "?apikey=" + globalKey + "/messages-upsert", withKey("sales", ""), nil, 201},
		{"token in the body", "", withKey("sales", salesKey), nil, 201},
		{"token in the body beside a foreign bearer", "", withKey("sales", salesKey), []string{"Authorization", "Bearer jwt"}, 201},
		{"none", "", withKey("sales", ""), nil, 401},
		{"another instance's token in the body", "", withKey("sales", otherKey), nil, 401},
		{"another instance's token", "?apikey=" + otherKey, withKey("sales", salesKey), nil, 401},
		{"the global key in the body", "", withKey("sales", globalKey), nil, 401},
		{"an unknown instance", "", withKey("nobody", salesKey), nil, 401},
		{"a key of nobody", "?apikey=/x", withKey("sales", "wrong"), []string{"apikey", "wrong"}, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			newServer(t).do("POST", "/ingest/evolution"+c.query, c.body, c.header...).says(t, c.status)
		})
	}
}

func TestTheErrorWebhookIsDroppedWithAReason(t *testing.T) {
	s := newServer(t)
	body := `{"event":"error","data":{"status":404},"date_time":"2025-10-21T11:00:39.512Z","api_key":"` + globalKey + `"}`
	s.admin("POST", "/ingest/evolution", body).is(t, 200, `{"ids":[],"ignored":"the event belongs to no instance"}`)
	s.do("POST", "/ingest/evolution", body).is(t, 401, unauthorized)
	if s.hub.names() != "" {
		t.Errorf("emitted %s", s.hub.names())
	}
}

func TestABadWebhookIsExplainedToHoldersOfAKeyOnly(t *testing.T) {
	s := newServer(t)
	for body, want := range map[string]string{
		`{`:                                      "not valid JSON",
		`{"event":"call"}`:                       `\"instance\" is missing`,
		`{"event":"a b","instance":"sales"}`:     "spaces",
		`{"event":"call","instance":"a/b"}`:      "any of",
		`[` + webhook + `]`:                      "expected a JSON object",
		"{\"event\":\"call\",\"data\":\"\xff\"}": "UTF-8",
	} {
		s.admin("POST", "/ingest/evolution", body).says(t, 400, want)
	}
	s.do("POST", "/ingest/evolution", `{`).is(t, 401, unauthorized)
}

func TestSlowSendersWithoutAKeyShutOutNoOthers(t *testing.T) {
	s := newServer(t)
	server := httptest.NewServer(s)
	defer server.Close()
	post := func(body io.Reader) (status int) {
		r, err := http.Post(server.URL+"/ingest/evolution", "application/json", body)
		if err != nil {
			return 0
		}
		r.Body.Close()
		return r.StatusCode
	}
	const slow = 20
	var ends []*io.PipeWriter
	statuses := make(chan int, slow)
	for range slow {
		body, end := io.Pipe()
		ends = append(ends, end)
		go func() { statuses <- post(body) }()
		io.WriteString(end, `{"event":"call",`) // returns when the client has sent the head and reads on
	}
	waitFor(t, "the bodies to be read", func() bool { return s.BodyBytes() >= slow<<10 })
	if got := post(strings.NewReader(`{"event":"call","instance":"sales","apikey":"` + salesKey + `"}`)); got != http.StatusCreated {
		t.Errorf("behind slow senders a sender was answered %d", got)
	}
	for _, end := range ends {
		io.WriteString(end, `"instance":"sales","apikey":"`+salesKey+`"}`)
		end.Close()
	}
	for range slow {
		if got := <-statuses; got != http.StatusCreated {
			t.Errorf("a sender whose token is in the body was answered %d", got)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	waitFor(t, "the bodies to be given back", func() bool { return s.BodyBytes() == 0 })
}

// waitFor waits until done is true.
func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("gave up waiting for %s", what)
		}
	}
}

func FuzzPostEvents(f *testing.F) {
	for _, seed := range []string{
		`{"event":"messages.upsert","data":{"key":{"id":"3EB0"}}}`, `[{"event":"a"},{"event":"b","sinks":["websocket"]}]`,
		"{\"event\":\"a\"}\n{\"event\":\"b\"}\n", `[{}]`, `[`, `{"event":"a","instance":"other"}`, `[[[[`, `{"event":"a"}]`, "[1,2", `{}x`, "\xff",
		"\ufeff" + `{"event":"a","Event":"b","data":{"x":1},"Data":null,"isLatest":true}`, `{"event":"new.jwt","server_url":"localhost"}`,
		`{"event":"a","data":"\ud800","data":1}`, "{}\f", `{"event":"a","date_time":"9999-01-01T00:00:00Z","api_key":"x"}`,
	} {
		f.Add([]byte(seed))
	}
	s := newServer(f, func(o *httpapi.Options) { o.Config.Events.MaxBatch, o.Config.Events.MaxBytes = 10, 1000 })
	f.Fuzz(func(t *testing.T, body []byte) { s.fuzz(t, "/events/sales", body) })
}

func FuzzIngest(f *testing.F) {
	f.Add([]byte(webhook), true)
	f.Add([]byte(`{"event":"Receipt","state":"Read","data":{"Timestamp":"2026-03-25T11:00:39Z"},"instanceName":"sales"}`), false)
	f.Add([]byte("\ufeff"+`{"isLatest":true,"progress":50,"event":"messages.set","instance":"sales","data":[],"Data":null}`), true)
	f.Add([]byte(`{"event":"Message","Event":"x","data":{"\ud800":1},"instanceName":"sales","server_url":"x","jid":1}`), false)
	s := newServer(f)
	f.Fuzz(func(t *testing.T, body []byte, api bool) {
		path := "/ingest/evolution-go"
		if api {
			path = "/ingest/evolution"
		}
		s.fuzz(t, path, body)
	})
}

// fuzz posts a body and checks that the answer is one of those that are documented, and that it fits what was emitted.
func (s *server) fuzz(t *testing.T, path string, body []byte) {
	s.hub.events = nil
	a := s.admin("POST", path, string(body))
	switch a.Code {
	case 200:
	case 201:
		if len(s.hub.events) == 0 || strings.Count(a.text, ",") < len(s.hub.events)-1 {
			t.Errorf("%q: %d events, answer %s", body, len(s.hub.events), a.text)
		}
		return
	case 400, 413:
		a.hasErrorShape(t)
	default:
		t.Errorf("%q answered %d %s", body, a.Code, a.text)
	}
	if len(s.hub.events) > 0 {
		t.Errorf("%q answered %d but emitted %d events", body, a.Code, len(s.hub.events))
	}
}
