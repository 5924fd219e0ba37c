package httpapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
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

// A body that is no text, or ends wrong, is that first, whatever else is wrong with its events; and none of them is emitted.
func TestWhatIsWrongWithABodyAsAWholeComesFirst(t *testing.T) {
	s := newServer(t, func(o *httpapi.Options) { o.Config.Events.MaxBytes, o.Config.Events.MaxBatch = 100, 2 })
	big := `{"event":"a.b","data":"` + strings.Repeat("x", 100) + `"}`
	for _, c := range []struct {
		body   string
		status int
		want   string
	}{
		{"{\"event\":\"a.b\",\"Destination\":\"\xff\"}", 400, "The body is not valid UTF-8"}, // of a key that is left out
		{"{\"event\":7,\"\xff\":1}", 400, "The body is not valid UTF-8"},
		{big + "\n\xff", 400, "The body is not valid UTF-8"},
		{strings.Repeat(`{"event":"a.b"}`, 3) + "\xff", 400, "The body is not valid UTF-8"},
		{`{"event":"a.b"}` + "\n" + `{"event":`, 400, "Malformed JSON: the body ends in the middle of a value"},
		{`{"event":"c d"}` + "\n" + `{"event":"a.b"]`, 400, "Malformed JSON: invalid character ']' after object key:value pair, at byte 31"},
		{`{"event":"a.b",}`, 400, "Malformed JSON: invalid character '}' looking for beginning of object key string, behind byte 16"},
		{`[{"event":"a.b"},{"event":"a.b"} {"event":"a.b"}]`, 400, "Malformed JSON: invalid character '{' after array element, at byte 34"},
		{`[{},{},{},]`, 400, "Malformed JSON: invalid character ']' looking for beginning of value, at byte 11"},
		{`[` + big + `,{},{}] []`, 400, "Malformed JSON: something follows the list, at byte 133"},
		{`[` + big + `,{},{}]`, 413, "The body holds more than 2 events"},
		{`[{"event":"c d"},` + big + `]`, 413, "events[1] has 125 bytes, at most 100 are allowed"},
		{`[{"event":"a.b"},{"event":"c d"}]`, 400, "events[1]: event must not contain spaces"},
		{strings.Repeat(`{"event":"a.b"}`, 3) + "x", 413, "The body holds more than 2 events"},
	} {
		s.admin("POST", "/events/sales", c.body).says(t, c.status, c.want)
	}
	if s.hub.names() != "" {
		t.Errorf("emitted %s", s.hub.names())
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
		{fmt.Errorf("%w: too much waits (delivery.total_limit)", queue.ErrFull), 429, "1"},
		{fmt.Errorf("publish: %w", bus.ErrTooLarge), 413, ""},
		{fmt.Errorf("instance: %w", instances.ErrUnknown), 404, ""},
		{fmt.Errorf("%w: data", event.ErrInvalid), 400, ""},
		{errors.New("disk full at SECRET"), 503, "5"},
	} {
		s := newServer(t)
		s.hub.err = c.err
		a := s.admin("POST", "/events/sales", `{"event":"a.b"}`)
		a.says(t, c.status)
		if c.status == 429 && !strings.Contains(a.text, "(events.timeout)") && !strings.Contains(a.text, "(delivery.total_limit)") {
			t.Errorf("%s does not name the limit", a.text)
		}
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

func TestByAnInstancesTokenTheServersAddressIsTheServers(t *testing.T) {
	for _, c := range []struct{ key, configured, said, want string }{
		{salesKey, "https://api.example", "https://evil.example", "https://api.example"},
		{salesKey, "", "https://evil.example", ""},
		{salesKey, "", "nonsense", ""},
		{globalKey, "https://api.example", "https://other.example/v2", "https://other.example/v2"},
		{globalKey, "https://api.example", "", "https://api.example"},
	} {
		for path, body := range map[string]string{
			"/events/sales":     `{"event":"a.b","server_url":"` + c.said + `"}`,
			"/ingest/evolution": `{"event":"a.b","instance":"sales","server_url":"` + c.said + `","apikey":"` + c.key + `"}`,
		} {
			s := newServer(t, func(o *httpapi.Options) { o.Config.Server.URL = c.configured })
			s.do("POST", path, body, "apikey", c.key).says(t, 201)
			if got := s.hub.events[0].ServerURL; got != c.want {
				t.Errorf("%s by %s: server_url %q, configured %q, became %q", path, c.key, c.said, c.configured, got)
			}
		}
	}
	s := newServer(t)
	s.do("POST", "/ingest/evolution", `{"event":"a.b","instance":"sales","server_url":"https://evil.example","apikey":"`+salesKey+`"}`).says(t, 201)
	if got := s.hub.events[0].ServerURL; got != "" {
		t.Errorf("by the token in the body server_url is %q", got)
	}
}

func TestAServerURLThatIsNoAddressIsRefusedButInEvolutionsWebhooksLeftOut(t *testing.T) {
	for _, url := range []string{"api.example", "localhost:8080", "ftp://api.example", "https://", "https:///x", "http://u:p@api.example", "https://a b",
		"https://api.example?x=1", "https://api.example/#x", "javascript:alert(1)", "//api.example", "\u007f", "https://%zz"} {
		s := newServer(t, func(o *httpapi.Options) { o.Config.Server.URL = "https://mine.example" })
		s.admin("POST", "/events/sales", `{"event":"a.b","server_url":"`+url+`"}`).says(t, 400, `server_url must be a URL like \"https://api.example\"`)
		if s.hub.names() != "" {
			t.Errorf("emitted %s", s.hub.names())
		}
		s.admin("POST", "/ingest/evolution", `{"event":"a.b","instance":"sales","data":{},"server_url":"`+url+`"}`).says(t, 201)
		if got := s.hub.events[0].ServerURL; got != "https://mine.example" {
			t.Errorf("%q of Evolution became %q", url, got)
		}
	}
}

func TestNamesOfTheAPIItselfNeedTheGlobalKey(t *testing.T) {
	for _, name := range []string{
		"new.jwt", "NEW_JWT_TOKEN", "new-jwt", "New.JWT", "instance.delete", "INSTANCE_DELETE", "Instance-Delete", "in\u017ftance.delete", "instance.create",
		"remove.instance", "LOGOUT_INSTANCE", "status-instance", "application.startup", "creds.update", "error", "ERRORS",
	} {
		s := newServer(t)
		for path, body := range map[string]string{
			"/events/sales":        `{"event":"` + name + `","data":{}}`,
			"/ingest/evolution":    `{"event":"` + name + `","instance":"sales","data":{},"apikey":"` + salesKey + `"}`,
			"/ingest/evolution-go": `{"event":"` + name + `","instanceName":"sales","data":{},"instanceToken":"` + salesKey + `"}`,
		} {
			s.do("POST", path, body, "apikey", salesKey).says(t, 403, "is emitted by the API itself", "the global key may")
			s.admin("POST", path, body).says(t, 201)
		}
		s.do("POST", "/ingest/evolution", `{"event":"`+name+`","instance":"sales","data":{},"apikey":"`+salesKey+`"}`).says(t, 403)
		if len(s.hub.events) != 3 {
			t.Errorf("%s: %d events, want those by the global key", name, len(s.hub.events))
		}
	}
	s := newServer(t)
	s.do("POST", "/events/sales", `[{"event":"a.b"},{"event":"new.jwt"}]`, "apikey", salesKey).says(t, 403, "events[1]: new.jwt is emitted by")
	s.do("POST", "/events/sales", `[{"event":"c d"},{"event":"new.jwt"}]`, "apikey", salesKey).says(t, 400, "events[1]: new.jwt is emitted by", "events[0]: event must not")
	if s.hub.names() != "" {
		t.Errorf("emitted %s", s.hub.names())
	}
	for _, name := range []string{"messages.upsert", "connection.update", "qrcode.updated", "LoggedOut", "my.instance.delete"} {
		s.do("POST", "/events/sales", `{"event":"`+name+`"}`, "apikey", salesKey).says(t, 201)
	}
}

func TestADateTimeFarAheadNeedsTheGlobalKey(t *testing.T) {
	s := newServer(t)
	at := func(d time.Duration) string {
		return `{"event":"a.b","date_time":"` + time.Now().Add(d).UTC().Format(time.RFC3339) + `"}`
	}
	s.do("POST", "/events/sales", at(14*time.Hour), "apikey", salesKey).says(t, 201)
	s.do("POST", "/events/sales", at(48*time.Hour), "apikey", salesKey).says(t, 400, "ahead")
	s.admin("POST", "/events/sales", at(48*time.Hour)).says(t, 201)
	for _, year := range []string{"0001", "1969", "2262", "9999"} {
		s.admin("POST", "/events/sales", `{"event":"a.b","date_time":"`+year+`-05-01T00:00:00Z"}`).says(t, 400, "between the years 1970 and 2261")
	}
}

func TestKeysAreExactAndAByteOrderMarkIsSkipped(t *testing.T) {
	s := newServer(t)
	s.admin("POST", "/events/sales", "\ufeff"+`{"event":"a.b","Event":"c.d","data":{"x":1},"Data":null,"isLatest":true}`).says(t, 201)
	if e := s.hub.events[0]; e.Name != "a.b" || string(e.Data) != `{"x":1}` || string(e.Extras) != `{"isLatest":true}` {
		t.Errorf("%+v", e)
	}
	s.admin("POST", "/events/sales", `[{"event":"a.b","Data":{"x":1}}]`).says(t, 400, `events[0]: the key \"Data\" must be written \"data\"`)
	s.admin("POST", "/events/sales", "\ufeff"+`[{"event":"a.b"},{"event":"a.b","data":1,"data":2}]`).says(t, 400, `events[1]: \"data\" is given twice`)
	s.admin("POST", "/events/sales", "\ufeff"+`{"event":"a.b"}`+"\n"+`{"event":"c.d"}`).says(t, 201)
	s.admin("POST", "/ingest/evolution", "\ufeff"+webhook).says(t, 201)
	s.admin("POST", "/ingest/evolution-go", "\ufeff"+`{"event":"Message","Event":"x","data":{},"instanceName":"sales"}`).says(t, 201)
	s.admin("POST", "/websocket/set/sales", "\ufeff"+`{"enabled":true,"Enabled":false,"events":["CALL"],"Events":[]}`).says(t, 201, `"enabled":true`, `"events":["CALL"]`)
	s.admin("POST", "/instance/token/sales", "\ufeff"+`{"Token":"chosen-by-a-key-that-is-none"}`).says(t, 201)
	if _, _, ok := s.registry.Authenticate("chosen-by-a-key-that-is-none"); ok {
		t.Error(`"Token" was taken for "token"`)
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

// An instance that emits more than it may is told which limit it meets and when to come again; the others are not concerned.
func TestEventsPerSecondAreBoundedByInstanceIfConfigured(t *testing.T) {
	s := newServer(t, func(o *httpapi.Options) { o.Config.Events.RateEach, o.Config.Events.MaxBatch = 0.001, 3 })
	for range 3 {
		s.admin("POST", "/events/sales", `{"event":"call"}`).says(t, 201)
	}
	s.hub.events = nil
	a := s.admin("POST", "/events/sales", `{"event":"call"}`)
	a.says(t, 429, "events.rate_each")
	if after, err := strconv.Atoi(a.Header().Get("Retry-After")); err != nil || after <= 1 || after > 1000 {
		t.Errorf("Retry-After %q: %s", a.Header().Get("Retry-After"), a.text)
	}
	s.admin("POST", "/events/support", `[{"event":"call"},{"event":"call"}]`).says(t, 201)
	s.admin("POST", "/events/support", `[{"event":"call"},{"event":"call"}]`).says(t, 429) // all or nothing
	s.admin("POST", "/events/support", `{"event":"call"}`).says(t, 201)
	if len(s.hub.events) != 3 {
		t.Errorf("%d events of the other instance were taken, want 3", len(s.hub.events))
	}
}
