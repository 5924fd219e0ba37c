package httpapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
)

func TestAnEventIsEmittedAsItWasPosted(t *testing.T) {
	s := newServer(t, func(o *httpapi.Options) { o.Config.Server.URL = "https://api.example" })
	a := s.do("POST", "/events/sales", `{"event":"MESSAGES_UPSERT","data":{"n":1.50, "b":"<&>"},"id":"mine","sender":"5511@s.whatsapp.net",
		"date_time":"2025-10-21T14:00:39.512Z","sinks":["websocket"],"other":1}`, "apikey", globalKey)
	a.is(t, 201, `{"id":"mine","ids":["mine"]}`)
	e := s.hub.events[0]
	if e.Name != "messages.upsert" || e.Instance != "sales" || string(e.Data) != `{"n":1.50, "b":"<&>"}` || e.Sender != "5511@s.whatsapp.net" ||
		e.Origin != "api" || e.ServerURL != "https://api.example" || len(e.Sinks) != 1 || e.Time.UnixMilli() != 1761055239512 {
		t.Errorf("%+v", e)
	}
}

func TestAnAnswerHoldsTheIDsInOrder(t *testing.T) {
	s := newServer(t)
	for body, single := range map[string]bool{
		`{"event":"a.b"}`:                                     true,
		`  {"event":"a.b"} ` + "\r\n":                         true,
		`[{"event":"a.b"}]`:                                   false,
		`[{"event":"a.b"}, {"event":"c.d"}]`:                  false,
		`{"event":"a.b"}` + "\n" + `{"event":"c.d"}`:          false,
		`{"event":"a.b"}` + "\n\n" + `{"event":"c.d"}` + "\n": false,
		`{"event":"a.b"}{"event":"c.d"}`:                      false,
	} {
		s.hub.events = nil
		a := s.admin("POST", "/events/sales", body)
		var got struct {
			ID  string
			IDs []string
		}
		if err := json.Unmarshal([]byte(a.text), &got); err != nil || a.Code != 201 || len(got.IDs) != len(s.hub.events) || (got.ID != "") != single {
			t.Errorf("%q answered %d %s", body, a.Code, a.text)
			continue
		}
		for i, e := range s.hub.events {
			if e.ID == "" || got.IDs[i] != e.ID {
				t.Errorf("%q: ids %v, event %d has %s", body, got.IDs, i, e.ID)
			}
		}
	}
}

func TestWhatIsWrongWithABatchIsSaidOfEachEventAndNothingIsEmitted(t *testing.T) {
	s := newServer(t)
	a := s.admin("POST", "/events/sales", `[{"event":"a.b"},{"data":1},{"event":"c d"},{"event":7},{"event":"e.f","instance":"other"},"x",null,{"event":"g.h","date_time":"now"}]`)
	a.is(t, 400, `{"status":400,"error":"Bad Request","response":{"message":[`+
		`"events[1]: \"event\" is missing; give its name, like \"messages.upsert\"",`+
		`"events[2]: event must not contain spaces, commas or quotes",`+
		`"events[3]: \"event\" must be a string, got number",`+
		`"events[4]: instance \"other\" differs from the one in the path, \"sales\"; leave it out",`+
		`"events[5]: expected a JSON object, got string",`+
		`"events[6]: \"event\" is missing; give its name, like \"messages.upsert\"",`+
		`"events[7]: date_time \"now\" is not an RFC 3339 time like \"2025-10-21T14:00:39.512Z\""]}}`)
	if s.hub.names() != "" {
		t.Errorf("emitted %s", s.hub.names())
	}
	s.admin("POST", "/events/sales", "["+strings.Repeat(`{},`, 99)+`{}]`).says(t, 400, `events[19]`, `... and 80 more`)
}

func TestBadEventsAreRefusedInWords(t *testing.T) {
	s := newServer(t)
	for body, want := range map[string]string{
		``:                    "The body is empty",
		`  `:                  "The body is empty",
		`[]`:                  "The list holds no events",
		`{`:                   "ends in the middle",
		`[{"event":"a.b"}`:    "ends in the middle",
		`[{"event":"a.b"},]`:  "Malformed JSON",
		`[{"event":"a.b"}] x`: "something follows the list",
		`{"event":"a.b"} x`:   "Malformed JSON",
		`{event:"a.b"}`:       "Malformed JSON",
		`7`:                   "expected a JSON object, got number",
		`"messages.upsert"`:   "expected a JSON object, got string",
		`{"event":""}`:        "event must not be empty",
		`{"event":null}`:      `\"event\" is missing`,
		`{"event":"` + strings.Repeat("x", 129) + `"}`: "at most 128",
		`{"event":"a\u0000b"}`:                         "control characters",
		`{"event":"a.b","sinks":"ws"}`:                 `\"sinks\" must be a list of strings`,
		`{"event":"a.b","sinks":[""]}`:                 "empty name",
		`{"event":"a.b","id":7}`:                       `\"id\" must be a string`,
		"{\"event\":\"a.b\",\"data\":\"\xff\"}":        "not valid UTF-8",
	} {
		s.admin("POST", "/events/sales", body).says(t, 400, want)
	}
	if s.hub.names() != "" {
		t.Errorf("emitted %s", s.hub.names())
	}
	for _, name := range []string{"my.event", "x", strings.Repeat("x", 128), "Message", "überraschung"} {
		s.admin("POST", "/events/sales", `{"event":"`+name+`"}`).says(t, 201)
	}
}

func TestInstanceNamesInPaths(t *testing.T) {
	s := newServer(t)
	for name, status := range map[string]int{
		"Inst X": 201, "São Paulo": 201, "日本": 201, "a+b": 201, "a%20b": 201, "a:b&c=d": 201, strings.Repeat("x", 255): 201,
		"a/b": 400, " a": 400, "a\nb": 400, "a?b": 400, "a#b": 400, "a,b": 400, strings.Repeat("x", 300): 400, "\xff": 400,
	} {
		s.hub.events = nil
		a := s.admin("POST", "/events/"+url.PathEscape(name), `{"event":"a.b"}`)
		a.says(t, status)
		if status == 201 && s.hub.events[0].Instance != name {
			t.Errorf("%q became %q", name, s.hub.events[0].Instance)
		}
	}
	s.admin("POST", "/events/%2E%2E", `{"event":"a.b"}`).says(t, 400, "must not be")
}

func TestLimitsOfEvents(t *testing.T) {
	s := newServer(t, func(o *httpapi.Options) {
		o.Config.Server.MaxBodyBytes, o.Config.Events.MaxBytes, o.Config.Events.MaxBatch = 400, 100, 3
	})
	big := `{"event":"a.b","data":"` + strings.Repeat("x", 100) + `"}`
	s.admin("POST", "/events/sales", big).says(t, 413, "events[0] has 125 bytes, at most 100")
	s.admin("POST", "/events/sales", `[{"event":"a.b"},`+big+`]`).says(t, 413, "events[1] has 125 bytes")
	s.admin("POST", "/events/sales", strings.Repeat(`{"event":"a.b"}`, 4)).says(t, 413, "more than 3 events")
	s.admin("POST", "/events/sales", strings.Repeat(big, 4)).says(t, 413, "The body has 500 bytes, at most 400 are allowed")
	chunked := httptest.NewRequest(http.MethodPost, "/events/sales", io.MultiReader(strings.NewReader(strings.Repeat(big, 4))))
	chunked.Header.Set("apikey", globalKey)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, chunked)
	answer{w, w.Body.String()}.says(t, 413, "more than the 400 bytes")
	s.admin("POST", "/events/sales", strings.Repeat(`{"event":"a.b"}`, 3)).says(t, 201)
	s.admin("POST", "/ingest/evolution", big).says(t, 413, "at most 100")
}

func TestFailuresOfTheEngineHaveAStatusThatSaysWhetherToTryAgain(t *testing.T) {
	for _, c := range []struct {
		err        error
		status     int
		retryAfter string
	}{
		{fmt.Errorf("publish: %w", bus.ErrOverloaded), 429, "1"},
		{fmt.Errorf("publish: %w", bus.ErrTooLarge), 413, ""},
		{fmt.Errorf("instance: %w", instances.ErrUnknown), 404, ""},
		{fmt.Errorf("%w: data", event.ErrInvalid), 400, ""},
		{errors.New("disk full at SECRET"), 503, "5"},
	} {
		s := newServer(t)
		s.hub.err = c.err
		a := s.admin("POST", "/events/sales", `{"event":"a.b"}`)
		a.says(t, c.status)
		if got := a.Header().Get("Retry-After"); got != c.retryAfter {
			t.Errorf("%v: Retry-After %q", c.err, got)
		}
		if strings.Contains(a.text, "SECRET") {
			t.Error("the caller got to see what only the operator should")
		}
		if logged := strings.Contains(s.log.String(), "SECRET"); logged != (c.status == 503) {
			t.Errorf("%v: logged is %v", c.err, logged)
		}
	}
}

func TestTheTokenTravelsOnlyWhereConsumersMaySeeItAndTheGlobalKeyNever(t *testing.T) {
	for _, c := range []struct{ key, body, want string }{
		{salesKey, `null`, salesKey},
		{salesKey, `"` + otherKey + `"`, salesKey},
		{globalKey, `"elsewhere"`, "elsewhere"},
		{globalKey, `"` + salesKey + `"`, salesKey},
		{globalKey, `"` + otherKey + `"`, ""},
		{globalKey, `"` + globalKey + `"`, ""},
		{globalKey, `null`, ""},
	} {
		for _, expose := range []bool{true, false} {
			s := newServer(t, func(o *httpapi.Options) { o.Config.Auth.ExposeInFetchInstances = expose })
			s.do("POST", "/events/sales", `{"event":"a.b","apikey":`+c.body+`}`, "apikey", c.key).says(t, 201)
			want := ""
			if expose {
				want = c.want
			}
			if got := s.hub.events[0].APIKey; got != want {
				t.Errorf("key %s, body %s, exposed %v: apikey is %q, want %q", c.key, c.body, expose, got, want)
			}
		}
	}
}

func TestACompressedBodyIsRefused(t *testing.T) {
	s := newServer(t)
	s.do("POST", "/events/sales", "x", "apikey", globalKey, "Content-Encoding", "gzip").says(t, 415, "Content-Encoding")
}

func TestEmitGetsTheConfiguredTime(t *testing.T) {
	s := newServer(t, func(o *httpapi.Options) {
		o.Config.Events.Timeout = time.Minute
		o.Emitter = deadline(func(left time.Duration) {
			if left <= 50*time.Second || left > time.Minute {
				t.Errorf("%s left", left)
			}
		})
	})
	s.admin("POST", "/events/sales", `{"event":"a.b"}`).says(t, 201)
}
