package httpapi_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/config"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// row is what set and find answer.
type row struct {
	ID, CreatedAt, UpdatedAt, InstanceID, URL string
	Enabled                                   bool
	Events                                    []string
}

func (a answer) row(t *testing.T, status int) (r row) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.text), &r); err != nil || a.Code != status {
		t.Fatalf("answered %d %s", a.Code, a.text)
	}
	return r
}

func TestSetStoresAndAnswersTheRowThatFindShows(t *testing.T) {
	s := newServer(t)
	in, _ := s.registry.Get("sales")
	set := s.admin("POST", "/websocket/set/sales", `{"websocket":{"enabled":true,"events":["QRCODE_UPDATED"]}}`)
	got := set.row(t, 201)
	if got.ID == "" || !got.Enabled || strings.Join(got.Events, " ") != "QRCODE_UPDATED" || got.InstanceID != in.ID ||
		len(got.CreatedAt) != len("2025-10-21T14:00:00.000Z") || got.UpdatedAt != got.CreatedAt {
		t.Errorf("%s", set.text)
	}
	s.admin("GET", "/websocket/find/sales", "").is(t, 200, set.text)
	s.do("GET", "/websocket/find/sales", "", "apikey", salesKey).is(t, 200, set.text)
	for i, key := range []string{`{"id":`, `"enabled":`, `"events":`, `"createdAt":`, `"updatedAt":`, `"instanceId":`} {
		if at := strings.Index(set.text, key); at < 0 || i == 0 && at != 0 {
			t.Errorf("%s is at %d of %s", key, at, set.text)
		}
	}
	again := s.admin("POST", "/websocket/set/sales", `{"websocket":{"enabled":false}}`).row(t, 201)
	if again.ID != got.ID || again.CreatedAt != got.CreatedAt || again.Enabled || strings.Join(again.Events, " ") != "QRCODE_UPDATED" {
		t.Errorf("disabled: %+v", again)
	}
}

func TestFindOfWhatIsNotSetIsNull(t *testing.T) {
	newServer(t).admin("GET", "/websocket/find/sales", "").is(t, 200, "null")
}

func TestAnEnabledSinkWithoutEventsGetsAll(t *testing.T) {
	s := newServer(t)
	for _, body := range []string{
		`{"websocket":{"enabled":true,"events":[]}}`, `{"websocket":{"enabled":true}}`, `{"enabled":true,"events":[]}`, `{"enabled":true}`,
	} {
		got := s.admin("POST", "/websocket/set/sales", body).row(t, 201)
		if strings.Join(got.Events, ",") != strings.Join(event.Settable(), ",") {
			t.Errorf("%s stored %v", body, got.Events)
		}
	}
}

func TestAFlatBodyOfVersion1IsTheBlock(t *testing.T) {
	s := newServer(t)
	if got := s.admin("POST", "/webhook/set/sales", `{"enabled":true,"url":"https://a.example?x=1&y=<2>"}`).row(t, 201); got.URL != "https://a.example?x=1&y=<2>" {
		t.Errorf("%+v", got)
	}
	s.admin("POST", "/websocket/set/sales", `{"events":["CALL"]}`).is(t, 400,
		`{"status":400,"error":"Bad Request","response":{"message":[["websocket requires property \"enabled\""]]}}`)
}

func TestViolationsAreAllListedInTheWordsOfTheReference(t *testing.T) {
	s := newServer(t)
	enum := "is not one of enum values: " + strings.Join(event.Settable(), ",")
	for _, c := range []struct {
		sink, body string
		want       []string
	}{
		{"websocket", `{}`, []string{`instance requires property "websocket"`}},
		{"websocket", `[]`, []string{`instance is not of a type(s) object`}},
		{"websocket", `null`, []string{`instance is not of a type(s) object`}},
		{"websocket", `{"rabbitmq":{"enabled":true}}`, []string{`instance requires property "websocket"`}},
		{"websocket", `{"websocket":null}`, []string{`websocket is not of a type(s) object`}},
		{"websocket", `{"websocket":{}}`, []string{`websocket requires property "enabled"`}},
		{"websocket", `{"websocket":{"enabled":"yes"}}`, []string{`websocket.enabled is not of a type(s) boolean`}},
		{"websocket", `{"websocket":{"enabled":true,"events":"CALL"}}`, []string{`websocket.events is not of a type(s) array`}},
		{"websocket", `{"websocket":{"enabled":true,"events":["CALL","MESSAGE_UPSERT",7]}}`, []string{
			"websocket.events[1] " + enum, "websocket.events[2] is not of a type(s) string"}},
		{"websocket", `{"websocket":{"events":["NOPE"]}}`, []string{"websocket.events[0] " + enum, `websocket requires property "enabled"`}},
		{"websocket", `{"websocket":{"enabled":1,"events":[1,2,3,4,5,6,7,8,9,10,11]}}`, append([]string{`websocket.enabled is not of a type(s) boolean`},
			numbered("websocket.events[%] is not of a type(s) string", 11)...)},
		{"webhook", `{"webhook":{"enabled":true,"url":""}}`, []string{`The "url" cannot be empty`}},
		{"webhook", `{"webhook":{}}`, []string{`webhook requires property "enabled"`, `webhook requires property "url"`}},
	} {
		want, _ := json.Marshal(map[string]any{"message": [][]string{c.want}})
		text := strings.NewReplacer(`\u003c`, `<`, `\u003e`, `>`).Replace(string(want))
		s.admin("POST", "/"+c.sink+"/set/sales", c.body).is(t, 400, `{"status":400,"error":"Bad Request","response":`+text+`}`)
	}
}

func numbered(text string, n int) (out []string) {
	for i := range n {
		b, _ := json.Marshal(i)
		out = append(out, strings.Replace(text, "%", string(b), 1))
	}
	return out
}

func TestNamesOfEventsInEverySpellingAndCustomOnesAreTaken(t *testing.T) {
	s := newServer(t)
	names := `["GROUPS_UPDATE","GROUP_UPDATE","messages.upsert","messages-upsert","Message","CALL","QRCODE","ALL","NEW_JWT_TOKEN","my.own"]`
	s.admin("POST", "/websocket/set/sales", `{"websocket":{"enabled":true,"events":`+names+`}}`).says(t, 201, names)
}

func TestListsAreBounded(t *testing.T) {
	s := newServer(t)
	list := `{"websocket":{"enabled":true,"events":["NOPE"` + strings.Repeat(`,"NOPE"`, 499) + `]}}`
	a := s.admin("POST", "/websocket/set/sales", list)
	a.says(t, 400, "websocket.events[19]", "... and 480 more")
	s.admin("POST", "/websocket/set/sales", strings.Replace(list, "[", `["NOPE",`, 1)).says(t, 400, "websocket.events does not meet maximum length of 500")
	s.admin("POST", "/websocket/set/sales", `{"websocket":{"enabled":true,"x":"`+strings.Repeat("x", 1<<20)+`"}}`).says(t, 413, "at most 1048576")
}

func TestMalformedSettingsAreRefusedInWords(t *testing.T) {
	s := newServer(t)
	for body, want := range map[string]string{
		``: "The body is empty", `{"websocket":`: "ends in the middle", `{websocket:1}`: "Malformed JSON", `{} {}`: "Malformed JSON", "\"\xff\"": "UTF-8",
	} {
		s.admin("POST", "/websocket/set/sales", body).says(t, 400, want)
	}
}

func TestASinkThatIsSwitchedOffAnswersWithAnEmptyBodyAndANotice(t *testing.T) {
	s := newServer(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		notice             string
	}{
		{"POST", "/rabbitmq/set/sales", `{"rabbitmq":{"enabled":true}}`, 201, "the configuration switches the sink rabbitmq off; nothing was stored"},
		{"GET", "/rabbitmq/find/sales", "", 200, "the configuration switches the sink rabbitmq off"},
		{"POST", "/sqs/set/sales", `{"sqs":{"enabled":true}}`, 201, "the sink sqs is in global mode and ignores settings of instances; nothing was stored"},
	} {
		s.log.Reset()
		a := s.admin(c.method, c.path, c.body)
		if a.Code != c.status || a.text != "" || a.Header().Get("Content-Length") != "0" || !strings.HasPrefix(a.Header().Get("Content-Type"), "application/json") {
			t.Errorf("%s answered %d %q %v", c.path, a.Code, a.text, a.Header())
		}
		if a.Header().Get("Evosink-Notice") != c.notice || !strings.Contains(s.log.String(), c.notice) {
			t.Errorf("%s: notice %q, log %s", c.path, a.Header().Get("Evosink-Notice"), s.log)
		}
	}
	s.admin("GET", "/sqs/find/sales", "").is(t, 200, "null")
	s.admin("POST", "/rabbitmq/set/sales", `{"rabbitmq":{}}`).says(t, 400, "requires property")
	if in, _ := s.registry.Get("sales"); len(in.Settings) > 0 {
		t.Errorf("stored %v", in.Settings)
	}
}

func TestASinksOwnObjectionIsABadRequest(t *testing.T) {
	s := newServer(t, func(o *httpapi.Options) {
		o.Sinks = []*sink.Factory{use("picky", plainSchema, switches{On: true}, func(json.RawMessage, json.RawMessage) (json.RawMessage, error) {
			return nil, errors.New("not today\nnor tomorrow")
		})}
	})
	s.admin("POST", "/picky/set/sales", `{"picky":{"enabled":true}}`).is(t, 400,
		`{"status":400,"error":"Bad Request","response":{"message":[["picky: not today","picky: nor tomorrow"]]}}`)
	s.admin("POST", "/instance/create", `{"instanceName":"new","picky":{}}`).says(t, 400, "picky: not today")
	if _, ok := s.registry.Get("new"); ok {
		t.Error("the instance was created")
	}
}

func TestWriteOnlySettingsAreStoredAndNeverShown(t *testing.T) {
	const schema = `{"type":"object","required":["enabled","secret"],"properties":{"enabled":{"type":"boolean"},"events":{"type":"array"},
		"secret":{"type":"string","minLength":3,"writeOnly":true},"url":{"type":"string"}}}`
	odd := use("odd", schema, switches{On: true}, keep)
	odd.Settings.Created = func(stored json.RawMessage) json.RawMessage { return stored }
	s := newServer(t, func(o *httpapi.Options) { o.Sinks = []*sink.Factory{odd} })
	stored := func() string {
		in, _ := s.registry.Get("sales")
		return string(in.Settings["odd"].Value)
	}
	for _, c := range []struct{ block, stored string }{
		{`{"enabled":true,"secret":"hunter2"}`, `{"enabled":true,"secret":"hunter2"}`},
		{`{"enabled":true,"secret":"***","url":"a"}`, `{"enabled":true,"secret":"hunter2","url":"a"}`}, // as find shows it
		{`{"enabled":true,"url":"b"}`, `{"enabled":true,"secret":"hunter2","url":"b"}`},
		{`{"enabled":true,"secret":"another","url":"***"}`, `{"enabled":true,"secret":"another","url":"***"}`},
	} {
		set := s.admin("POST", "/odd/set/sales", `{"odd":`+c.block+`}`)
		set.says(t, 201, `"secret":"***"`)
		s.admin("GET", "/odd/find/sales", "").is(t, 200, set.text)
		if stored() != c.stored {
			t.Errorf("%s is stored as %s, want %s", c.block, stored(), c.stored)
		}
	}
	s.admin("POST", "/instance/create", `{"instanceName":"new","odd":{"secret":"hunter2"}}`).says(t, 201, `"odd":{"enabled":true,"secret":"***"}`)
	s.admin("POST", "/instance/create", `{"instanceName":"newer","odd":{"secret":"***"}}`).says(t, 400, "stands for a stored secret")
	s.admin("POST", "/odd/set/new", `{"odd":{"enabled":true,"secret":"xy"}}`).says(t, 400, "odd.secret does not meet minimum length of 3")
}

func TestWhatTheConfigurationDoesNotPermitIsABadRequest(t *testing.T) {
	picky := sink.Use(sink.Spec[switches]{
		Name: "picky", Mode: sink.Queued, Settings: sink.PlainSettings(),
		Defaults: func() switches { return switches{On: true} },
		Enabled:  func(c *switches) bool { return c.On },
		Rule:     func(*switches) sink.Rule { return sink.Rule{} },
		Permit: func(c *switches, stored json.RawMessage) error {
			if strings.Contains(string(stored), "CALL") {
				return errors.New("no calls here")
			}
			return nil
		},
	})
	s := newServer(t, func(o *httpapi.Options) { o.Sinks = []*sink.Factory{picky} })
	s.admin("POST", "/picky/set/sales", `{"picky":{"enabled":true,"events":["CALL"]}}`).says(t, 400, "picky: no calls here")
	s.admin("POST", "/instance/create", `{"instanceName":"new","picky":{"events":["CALL"]}}`).says(t, 400, "picky: no calls here")
	s.admin("POST", "/picky/set/sales", `{"picky":{"enabled":true,"events":["QRCODE_UPDATED"]}}`).says(t, 201, "QRCODE_UPDATED")
}

func TestTheWordsOfOtherKeywords(t *testing.T) {
	schema := `{"type":"object","additionalProperties":false,"minProperties":1,"properties":{"enabled":{"const":true},
		"a":{"type":["string","null"],"minLength":3,"maxLength":5,"pattern":"^x"},"b":{"type":"array","minItems":2,"maxItems":3,"uniqueItems":true},
		"c":{"type":"number","minimum":1.5,"maximum":10},"d":{"type":"number","exclusiveMinimum":1,"exclusiveMaximum":10},
		"e":{"type":"string","format":"uri"},"f":{"anyOf":[{"type":"string"},{"type":"boolean"}]},"g":{"enum":[1,"x",null]},"h":false,
		"i":{"type":"object","properties":{"x y":{"type":"string"}},"maxProperties":1}}}`
	s := newServer(t, func(o *httpapi.Options) { o.Sinks = []*sink.Factory{use("odd", schema, switches{On: true}, keep)} })
	for block, want := range map[string]string{
		`{}`:                      `odd does not meet minimum property length of 1`,
		`{"z":1}`:                 `odd is not allowed to have the additional property "z"`,
		`{"enabled":false}`:       `odd.enabled does not exactly match expected constant: true`,
		`{"a":7}`:                 `odd.a is not of a type(s)`,
		`{"a":"x"}`:               `odd.a does not meet minimum length of 3`,
		`{"a":"xxxxxx"}`:          `odd.a does not meet maximum length of 5`,
		`{"a":"yyy"}`:             `odd.a does not match pattern "^x"`,
		`{"b":[1]}`:               `odd.b does not meet minimum length of 2`,
		`{"b":[1,2,3,4]}`:         `odd.b does not meet maximum length of 3`,
		`{"b":[1,1]}`:             `odd.b contains duplicate item`,
		`{"c":1}`:                 `odd.c must be greater than or equal to 1.5`,
		`{"c":11}`:                `odd.c must be less than or equal to 10`,
		`{"d":1}`:                 `odd.d must be strictly greater than 1`,
		`{"d":10}`:                `odd.d must be strictly less than 10`,
		`{"e":"no uri"}`:          `odd.e does not conform to the "uri" format`,
		`{"f":1}`:                 `odd.f does not satisfy "anyOf"`,
		`{"g":2}`:                 `odd.g is not one of enum values: 1,x,null`,
		`{"h":2}`:                 `odd.h is not allowed`,
		`{"i":{"x y":1}}`:         `odd.i["x y"] is not of a type(s) string`,
		`{"i":{"x y":"","z":""}}`: `odd.i does not meet maximum property length of 1`,
	} {
		quoted, _ := json.Marshal(want)
		s.admin("POST", "/odd/set/sales", `{"odd":`+block+`}`).says(t, 400, strings.Trim(string(quoted), `"`))
	}
}

func FuzzSet(f *testing.F) {
	for _, seed := range []string{
		`{"websocket":{"enabled":true,"events":["CALL"]}}`, `{"enabled":true}`, `{"websocket":[]}`, `[]`, `{"websocket":{"enabled":1,"events":[null,{}]}}`,
	} {
		f.Add([]byte(seed))
	}
	s := newServer(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		a := s.admin("POST", "/websocket/set/sales", string(body))
		switch a.Code {
		case 201:
			if !json.Valid([]byte(a.text)) {
				t.Errorf("%q answered %s", body, a.text)
			}
			s.admin("GET", "/websocket/find/sales", "").is(t, 200, a.text)
		case 400:
			a.hasErrorShape(t)
		default:
			t.Errorf("%q answered %d %s", body, a.Code, a.text)
		}
	})
}

func TestANameThatIsNearlyAnEventIsStoredWithANotice(t *testing.T) {
	s := newServer(t, func(o *httpapi.Options) { o.Nearest = config.Nearest })
	for events, notice := range map[string]string{
		`["messages.upsrt"]`: `websocket: "messages.upsrt" is an event of your own, not one that is known, did you mean messages.upsert?`,
		`["my.own.event","CALL","messages.upsert","Message"]`: "",
		`["GROUP","QRCODE"]`: "",
	} {
		a := s.admin("POST", "/websocket/set/sales", `{"websocket":{"enabled":true,"events":`+events+`}}`)
		a.says(t, 201, events)
		if got := a.Header().Get("Evosink-Notice"); got != notice {
			t.Errorf("%s: %q, want %q", events, got, notice)
		}
	}
	if n := strings.Count(s.log.String(), "messages.upsrt"); n != 1 {
		t.Errorf("the log tells it %d times", n)
	}
	for body, notice := range map[string]string{
		`{"instanceName":"a","websockt":{"enabled":true}}`:                           `no sink is called "websockt", so its block is ignored, did you mean websocket?`,
		`{"instanceName":"b","chatwootUrl":"x","proxy":{"host":"h"},"websocket":{}}`: "",
	} {
		a := s.admin("POST", "/instance/create", body)
		if got := a.Header().Get("Evosink-Notice"); a.Code != 201 || got != notice {
			t.Errorf("%s: %d %q, want %q", body, a.Code, got, notice)
		}
	}
	for body, notice := range map[string]string{
		`{"event":"call","sinks":["websockt"]}`:                               `no sink is called "websockt", did you mean websocket?`,
		`[{"event":"call"},{"event":"call","sinks":["websocket","ünknown"]}]`: `no sink is called "\u00fcnknown"`,
		`{"event":"call","sinks":["websocket"]}`:                              "",
	} {
		a := s.admin("POST", "/events/sales", body)
		if got := a.Header().Get("Evosink-Notice"); a.Code != 201 || got != notice {
			t.Errorf("%s: %d %q, want %q", body, a.Code, got, notice)
		}
	}
	r := newRig(t, func(_ *core.Options, o *httpapi.Options) { o.Nearest = config.Nearest })
	r.admin("GET", "/admin/dead?sink=hok", "").says(t, 400, `No sink is called \"hok\"; there are: hook, live, off, did you mean hook?`)
}
