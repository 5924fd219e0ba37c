package webhook_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/webhook"
)

func normalize(block, previous string) (string, error) {
	var was json.RawMessage
	if previous != "" {
		was = json.RawMessage(previous)
	}
	out, err := webhook.Spec.Settings.Normalize(json.RawMessage(block), was)
	return string(out), err
}

func everything() string {
	all, _ := json.Marshal(event.Settable())
	return string(all)
}

func TestTheSingleFormIsStoredAsEvolutionStoresIt(t *testing.T) {
	for _, c := range []struct{ name, block, previous, want string }{
		{
			"all of it",
			`{"enabled":true,"url":"https://app.example/hook","headers":{"authorization":"Bearer x","n":5,"b":true,"no":null},"byEvents":true,"base64":true,"events":["MESSAGES_UPSERT"]}`, ``,
			`{"url":"https://app.example/hook","headers":{"authorization":"Bearer x","b":"true","n":"5"},"enabled":true,"events":["MESSAGES_UPSERT"],"webhookByEvents":true,"webhookBase64":true}`,
		},
		{
			"the least there is", `{"enabled":true,"url":"http://h"}`, ``,
			`{"url":"http://h","headers":{},"enabled":true,"events":` + everything() + `,"webhookByEvents":false,"webhookBase64":false}`,
		},
		{
			"no events", `{"enabled":true,"url":"http://h","events":[]}`, ``,
			`{"url":"http://h","headers":{},"enabled":true,"events":` + everything() + `,"webhookByEvents":false,"webhookBase64":false}`,
		},
		{
			"the stored names, and what else a row has",
			`{"id":"x","createdAt":"y","enabled":true,"url":"http://h","events":["CALL"],"webhookByEvents":true,"webhookBase64":true}`, ``,
			`{"url":"http://h","headers":{},"enabled":true,"events":["CALL"],"webhookByEvents":true,"webhookBase64":true}`,
		},
		{
			"what is absent stays",
			`{"enabled":true,"url":"http://new","events":["CALL"]}`,
			`{"url":"http://h","headers":{"a":"b"},"enabled":true,"events":["QRCODE_UPDATED"],"webhookByEvents":true,"webhookBase64":true,"secrets":["s"],"filters":{"group":false},"order":"chat"}`,
			`{"url":"http://new","headers":{"a":"b"},"enabled":true,"events":["CALL"],"webhookByEvents":true,"webhookBase64":true,"secrets":["s"],"filters":{"group":false},"order":"chat"}`,
		},
		{
			"what is there replaces all of it",
			`{"enabled":true,"url":"http://h","events":["CALL"],"headers":{"c":"d"},"byEvents":false,"secrets":[],"filters":{"fromMe":"only"},"order":"instance"}`,
			`{"url":"http://h","headers":{"a":"b"},"enabled":true,"events":["CALL"],"webhookByEvents":true,"webhookBase64":false,"secrets":["s"],"filters":{"group":false}}`,
			`{"url":"http://h","headers":{"c":"d"},"enabled":true,"events":["CALL"],"webhookByEvents":false,"webhookBase64":false,"filters":{"fromMe":"only"},"order":"instance"}`,
		},
		{
			"disabled keeps its events", `{"enabled":false,"url":""}`, `{"url":"http://h","headers":{},"enabled":true,"events":["CALL"],"webhookByEvents":false,"webhookBase64":false}`,
			`{"url":"","headers":{},"enabled":false,"events":["CALL"],"webhookByEvents":false,"webhookBase64":false}`,
		},
		{
			"a new secret beside the old", `{"enabled":true,"url":"http://h","events":["CALL"],"secret":"new","secrets":["old"]}`, ``,
			`{"url":"http://h","headers":{},"enabled":true,"events":["CALL"],"webhookByEvents":false,"webhookBase64":false,"secrets":["new","old"]}`,
		},
		{
			"what cannot be read is replaced", `{"enabled":true,"url":"http://h","events":["CALL"]}`, `{"url":7}`,
			`{"url":"http://h","headers":{},"enabled":true,"events":["CALL"],"webhookByEvents":false,"webhookBase64":false}`,
		},
	} {
		got, err := normalize(c.block, c.previous)
		if err != nil || got != c.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", c.name, got, err, c.want)
		}
		again, err := normalize(got, got)
		if err != nil || again != got {
			t.Errorf("%s: what find answers is stored as something else: %s, %v", c.name, again, err)
		}
	}
}

func TestAListStandsBesideTheSingleForm(t *testing.T) {
	list := `"webhooks":[{"url":"http://a","events":["CALL"]},{"name":"1","url":"http://b","events":["CALL","QRCODE_UPDATED"],"enabled":false},{"id":"crm","url":"http://c","events":["LABELS_EDIT"],"secret":"s"}]`
	stored, err := normalize(`{"enabled":true,"url":"http://h","events":["MESSAGES_UPSERT"],`+list+`}`, "")
	want := `{"url":"http://h","headers":{},"enabled":true,"events":["MESSAGES_UPSERT","CALL","QRCODE_UPDATED","LABELS_EDIT"],"webhookByEvents":false,"webhookBase64":false,` +
		`"urlEvents":["MESSAGES_UPSERT"],"webhooks":[` +
		`{"name":"2","enabled":true,"url":"http://a","events":["CALL"],"headers":{},"byEvents":false,"base64":false},` +
		`{"name":"1","enabled":false,"url":"http://b","events":["CALL","QRCODE_UPDATED"],"headers":{},"byEvents":false,"base64":false},` +
		`{"name":"crm","enabled":true,"url":"http://c","events":["LABELS_EDIT"],"headers":{},"byEvents":false,"base64":false,"secrets":["s"]}]}`
	if err != nil || stored != want {
		t.Fatalf("got %s, %v\nwant %s", stored, err, want)
	}
	if again, err := normalize(stored, stored); err != nil || again != stored {
		t.Errorf("what find answers is stored as something else: %s, %v", again, err)
	}
	t.Run("a client that knows only the single form leaves it alone", func(t *testing.T) {
		got, err := normalize(`{"enabled":true,"url":"http://h2","events":["CALL"]}`, stored)
		want := strings.NewReplacer(`"http://h"`, `"http://h2"`, `"events":["MESSAGES_UPSERT","CALL","QRCODE_UPDATED","LABELS_EDIT"]`, `"events":["CALL","QRCODE_UPDATED","LABELS_EDIT"]`,
			`"urlEvents":["MESSAGES_UPSERT"]`, `"urlEvents":["CALL"]`).Replace(stored)
		if err != nil || got != want {
			t.Errorf("got %s, %v\nwant %s", got, err, want)
		}
	})
	t.Run("an empty list ends it", func(t *testing.T) {
		got, err := normalize(`{"enabled":true,"url":"http://h","events":["CALL"],"webhooks":[]}`, stored)
		if err != nil || strings.Contains(got, "webhooks") || strings.Contains(got, "urlEvents") || !strings.Contains(got, `"events":["CALL"]`) {
			t.Errorf("got %s, %v", got, err)
		}
	})
	t.Run("disabling and enabling keeps all events", func(t *testing.T) {
		off, err := normalize(`{"enabled":false,"url":"http://h"}`, stored)
		if err != nil {
			t.Fatal(err)
		}
		on, err := normalize(`{"enabled":true,"url":"http://h","events":["MESSAGES_UPSERT"]}`, off)
		if err != nil || on != stored {
			t.Errorf("got %s, %v", on, err)
		}
	})
	t.Run("a client that sets only the list leaves the single form alone", func(t *testing.T) {
		got, err := normalize(`{"enabled":true,`+list+`}`, `{"url":"http://h","headers":{},"enabled":true,"events":["MESSAGES_UPSERT"],"webhookByEvents":false,"webhookBase64":false}`)
		if err != nil || got != stored {
			t.Errorf("got %s, %v", got, err)
		}
	})
	t.Run("alone, and one wants all events", func(t *testing.T) {
		got, err := normalize(`{"enabled":true,"webhooks":[{"url":"http://a","events":["CALL"]},{"url":"http://b"}]}`, "")
		if err != nil || !strings.Contains(got, `"events":`+everything()+`,"webhookByEvents"`) || strings.Contains(got, "urlEvents") {
			t.Errorf("got %s, %v", got, err)
		}
	})
}

func TestBadSettingsAreRefusedInWordsThatHelp(t *testing.T) {
	many := strings.TrimSuffix(strings.Repeat(`{"url":"http://h"},`, 33), ",")
	for block, says := range map[string]string{
		`{"enabled":true,"url":""}`:                                                                 "url must not be empty",
		`{"enabled":true,"url":"app.example/hook"}`:                                                 "url must begin with http:// or https://",
		`{"enabled":true,"url":"ftp://app.example"}`:                                                "url must begin with http:// or https://",
		`{"enabled":true,"url":"javascript:alert(1)"}`:                                              "url must begin with http:// or https://",
		`{"enabled":true,"url":"http://"}`:                                                          "url names no host",
		`{"enabled":true,"url":"http://:8080/x"}`:                                                   "url names no host",
		`{"enabled":true,"url":"http:///x"}`:                                                        "url names no host",
		`{"enabled":true,"url":"http://h:0"}`:                                                       "url has no valid port",
		`{"enabled":true,"url":"http://h:99999"}`:                                                   "url has no valid port",
		`{"enabled":true,"url":"http://h:x/"}`:                                                      "url is not a URL",
		`{"enabled":true,"url":"http://h/%zz"}`:                                                     "url is not a URL",
		`{"enabled":true,"url":"http://h/a b"}`:                                                     "url must not contain spaces",
		`{"enabled":true,"url":"http://h/\r\nX: y"}`:                                                "url must not contain spaces or control",
		`{"enabled":true,"url":"http://h/` + strings.Repeat("x", 2048) + `"}`:                       "at most 2048 are allowed",
		`{"enabled":false,"url":"nonsense"}`:                                                        "url must begin with",
		`{"enabled":true,"url":"http://h","headers":{"X-A":"hunter2\r\nX-Evil: 1"}}`:                `headers["X-A"] must not contain line breaks`,
		`{"enabled":true,"url":"http://h","headers":{"X-A":"a\u0000b"}}`:                            `headers["X-A"] must not contain`,
		`{"enabled":true,"url":"http://h","headers":{"jwt_key":"a\nb"}}`:                            `headers["jwt_key"] must not contain`,
		`{"enabled":true,"url":"http://h","headers":{"X A":"b"}}`:                                   `headers["X A"] is not a name of a header`,
		`{"enabled":true,"url":"http://h","headers":{"X\r\nY":"b"}}`:                                `is not a name of a header`,
		`{"enabled":true,"url":"http://h","headers":{"":"b"}}`:                                      `headers[""] is not a name`,
		`{"enabled":true,"url":"http://h","headers":{"host":"a/b"}}`:                                `headers["host"] must be a host`,
		`{"enabled":true,"url":"http://h","headers":{"a":"` + strings.Repeat("x", 17<<10) + `"}}`:   "at most 16384 are allowed",
		`{"enabled":true,"url":"http://h","headers":{"a":["b"]}}`:                                   `headers["a"] must be text`,
		`{"enabled":true,"url":"http://h","headers":[]}`:                                            `must not be array`,
		`{"enabled":true,"url":"http://h","secrets":["a","b","c"]}`:                                 "secrets has 3 entries, at most 2",
		`{"enabled":true,"url":"http://h","secret":"whsec_hunter2"}`:                                "secrets[0] begins with whsec_ and must go on",
		`{"enabled":true,"url":"http://h","secret":"whsec_aHVudGVyMg=="}`:                           "24 to 64 bytes",
		`{"enabled":true,"url":"http://h","secrets":["ok",""]}`:                                     "secrets[1] must have 1 to 256",
		`{"enabled":true,"url":"http://h","order":"random"}`:                                        `order "random": want instance, chat or none`,
		`{"enabled":true,"url":"http://h","format":"xml"}`:                                          `format "xml": want evolution or cloudevents`,
		`{"enabled":true,"url":"http://h","filters":{"group":"no"}}`:                                `filters must be true, false or "only"`,
		`{"enabled":true,"url":"http://h","filters":{"chats":{"deny":["a@b@c"]}}}`:                  `filters.chats: "a@b@c" is no chat`,
		`{"enabled":true,"url":"http://h","webhooks":[` + many + `]}`:                               "webhooks has 33 entries, at most 32",
		`{"enabled":true,"webhooks":[]}`:                                                            "url must not be empty",
		`{"enabled":true,"webhooks":[{"url":"x"}]}`:                                                 "webhooks[0].url must begin with",
		`{"enabled":true,"webhooks":[{"url":"http://h","name":"a b"}]}`:                             `webhooks[0].name "a b": want`,
		`{"enabled":true,"webhooks":[{"url":"http://h","name":"a/b~1"}]}`:                           `webhooks[0].name`,
		`{"enabled":true,"webhooks":[{"url":"http://h","name":"a"},{"url":"http://h","name":"a"}]}`: `webhooks[1].name "a" is in the list twice`,
		`{"enabled":true,"webhooks":[{"url":"http://h","events":["CALLS"]}]}`:                       "webhooks[0].events[0] is not one of enum values: APPLICATION_STARTUP,",
		`{"enabled":true,"webhooks":[{"url":7}]}`:                                                   "webhooks[0]: url must not be number",
		`{"enabled":"yes","url":"http://h"}`:                                                        "enabled must not be string",
		`[]`:                                                                                        "must not be array",
	} {
		out, err := normalize(block, "")
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.120s: stored %.60s, error %v\nwant one that says %q", block, out, err, says)
		}
	}
	_, err := normalize(`{"enabled":true,"url":"x","order":"y","webhooks":[{"url":"z"}]}`, "")
	wantText(t, err, "url must begin", "\norder \"y\"", "\nwebhooks[0].url must begin")
}

func TestANewInstanceIsAnsweredAsEvolutionDoes(t *testing.T) {
	stored, err := normalize(`{"enabled":true,"url":"https://app.example/hook?a=1&b=2","base64":true,"secret":"s","webhooks":[{"url":"http://b"}]}`, "")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"webhookUrl":"https://app.example/hook?a=1&b=2","webhookHeaders":{},"webhookByEvents":false,"webhookBase64":true}`
	if got := string(webhook.Spec.Settings.Created(json.RawMessage(stored))); got != want {
		t.Errorf("answered %s\nwant %s", got, want)
	}
}

func TestTheSchemaNamesEachMistakeAtItsPlace(t *testing.T) {
	schema := compiled(t)
	for block, want := range map[string]string{
		`{"enabled":true,"url":"http://h"}`:                                   "",
		`{"enabled":false,"url":"","events":[]}`:                              "",
		`{"enabled":true,"webhooks":[{"url":"http://h"}]}`:                    "",
		`{"enabled":true,"url":"","unknown":1,"headers":null}`:                "",
		`{"enabled":true,"url":"","filters":{"group":"only","fromMe":false}}`: "",
		`{}`:                       ` missing enabled;  missing url`,
		`{"enabled":true}`:         ` missing url`,
		`{"url":"http://h"}`:       ` missing enabled`,
		`{"enabled":1,"url":null}`: `enabled not boolean; url not string`,
		`{"enabled":true,"url":"","headers":{"a":{}}}`:                        `headers.a not null boolean number string`,
		`{"enabled":true,"url":"","filters":{"fromme":false}}`:                `filters additional fromme`,
		`{"enabled":true,"url":"","filters":{"group":"no"}}`:                  `filters.group not in enum`,
		`{"enabled":true,"webhooks":[{"url":"","evnts":[]},{"name":"only"}]}`: `webhooks.0 additional evnts; webhooks.1 missing url`,
		`{"enabled":true,"url":"","events":"all"}`:                            `events not array`,
	} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(block))
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		var invalid *jsonschema.ValidationError
		if errors.As(schema.Validate(doc), &invalid) {
			found = mistakes(invalid)
		}
		slices.Sort(found)
		if got := strings.Join(found, "; "); got != want {
			t.Errorf("%s: %q, want %q", block, got, want)
		}
	}
}

func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(webhook.Spec.Settings.Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("webhook.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("webhook.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// mistakes are the leaves of an error, as adapters/httpapi shows them to clients.
func mistakes(e *jsonschema.ValidationError) (out []string) {
	for _, cause := range e.Causes {
		out = append(out, mistakes(cause)...)
	}
	at := strings.Join(e.InstanceLocation, ".")
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		out = append(out, at+" missing "+strings.Join(k.Missing, ","))
	case *kind.AdditionalProperties:
		out = append(out, at+" additional "+strings.Join(k.Properties, ","))
	case *kind.Type:
		out = append(out, at+" not "+strings.Join(k.Want, " "))
	case *kind.Enum:
		out = append(out, at+" not in enum")
	default:
		if len(e.Causes) == 0 {
			out = append(out, at+" "+fmt.Sprintf("%T", k))
		}
	}
	return out
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte(`{"enabled":true,"url":"https://app.example/hook","headers":{"a":"b","jwt_key":1},"byEvents":true,"events":["CALL"]}`), []byte(`{}`))
	f.Add([]byte(`{"enabled":true,"webhooks":[{"url":"http://a"},{"id":"b","url":"http://b","secret":"s","filters":{"chats":{"deny":["@g.us"]}},"order":"chat","format":"cloudevents","gzip":true}]}`), []byte(`{"url":"http://h","enabled":true,"events":[]}`))
	f.Add([]byte(`{"enabled":false}`), []byte(`{"webhooks":[{"name":"a","url":"http://h","enabled":true}],"urlEvents":["CALL"]}`))
	f.Add([]byte(`{"enabled":true,"url":"http://[::1%25lo]:8/%2F?x#y","filters":null,"webhooks":null}`), []byte(`7`))
	s := open(f)
	f.Fuzz(func(t *testing.T, block, previous []byte) {
		s.Targets(message("x"), []sink.Scope{sink.Instance}, block) // stored settings may be anything, too
		stored, err := webhook.Spec.Settings.Normalize(block, previous)
		if err != nil {
			return
		}
		again, err := webhook.Spec.Settings.Normalize(stored, stored)
		if err != nil || !bytes.Equal(again, stored) {
			t.Fatalf("%s is stored as %s, and that as %s, %v", block, stored, again, err)
		}
		if _, err := sink.ParseSubscription(stored); err != nil {
			t.Fatalf("the core cannot read %s: %v", stored, err)
		}
		for _, d := range s.Targets(message("x"), []sink.Scope{sink.Instance}, stored) {
			if strings.ContainsAny(string(d.Target), "\r\n ") {
				t.Fatalf("target %q", d.Target)
			}
		}
	})
}
