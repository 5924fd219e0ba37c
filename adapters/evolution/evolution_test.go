package evolution_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/evolution"
	"github.com/evosink/evosink/core/event"
)

const apiBody = `{"event":"messages.upsert","instance":"sales","data":{"key":{"id":"3EB0"},"n":1.50},
"destination":"https://sink.example/ingest/evolution","date_time":"2025-10-21T11:00:39.512Z",
"sender":"5511999990000@s.whatsapp.net","server_url":"https://api.example","apikey":"TOKEN"}`

const goBody = `{"event":"Message","data":{"Info":{"ID":"3EB0","Timestamp":"2026-03-25T11:00:39-03:00"},"Message":{"conversation":"Oi"}},
"instanceToken":"tok-1","instanceId":"0f6f","instanceName":"sales"}`

func TestAnEvolutionAPIWebhookBecomesAnEventWithTheBytesOfItsData(t *testing.T) {
	e, err := evolution.DecodeAPI([]byte(apiBody))
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != "messages.upsert" || e.Instance != "sales" || e.Sender != "5511999990000@s.whatsapp.net" ||
		e.ServerURL != "https://api.example" || e.APIKey != "TOKEN" || e.Origin != "evolution" {
		t.Errorf("fields were lost: %+v", e)
	}
	if got := string(e.Data); got != `{"key":{"id":"3EB0"},"n":1.50}` {
		t.Errorf("data = %s", got)
	}
	if want := time.Date(2025, 10, 21, 11, 0, 39, 512e6, time.UTC); !e.Time.Equal(want) {
		t.Errorf("time = %s, want %s", e.Time, want)
	}
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
}

func TestTheSamePostHasTheSameIDAndAnotherOneHasNot(t *testing.T) {
	id := func(body string) string {
		t.Helper()
		e, err := evolution.DecodeAPI([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return e.ID
	}
	first := id(apiBody)
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(first) {
		t.Errorf("%q is not a UUID of version 8", first)
	}
	if again := id(strings.Replace(apiBody, "sink.example", "other.example", 1)); again != first {
		t.Error("the same event by another webhook got another id")
	}
	for _, change := range [][2]string{
		{"messages.upsert", "messages.update"}, {`"sales"`, `"sale"`}, {"39.512Z", "39.513Z"}, {"1.50", "1.5"},
	} {
		if id(strings.Replace(apiBody, change[0], change[1], 1)) == first {
			t.Errorf("%s -> %s did not change the id", change[0], change[1])
		}
	}
	if got := id(strings.Replace(apiBody, `"date_time":"2025-10-21T11:00:39.512Z",`, "", 1)); got != "" {
		t.Errorf("an event without a time got the id %q, but two equal ones may be two events", got)
	}
	if got := id(strings.Replace(apiBody, `{"event"`, `{"id":"mine","event"`, 1)); got != "mine" {
		t.Errorf("the producer's id became %q", got)
	}
}

// Evolution API 2.3.7 puts these beside the data of messages.set.
func TestFurtherKeysAreCarriedAndPartOfWhatAnEventSays(t *testing.T) {
	body := func(progress string) []byte {
		return []byte(`{"isLatest":true,"progress":` + progress + `,"event":"messages.set","instance":"sales","data":[],
			"destination":"https://sink.example/ingest/evolution?apikey=SECRET","date_time":"2025-10-21T11:00:39.512Z"}`)
	}
	e, err := evolution.DecodeAPI(body("50"))
	if err != nil || string(e.Extras) != `{"isLatest":true,"progress":50}` {
		t.Fatalf("%+v, %v", e, err)
	}
	if again, _ := evolution.DecodeAPI(body("50")); again.ID != e.ID {
		t.Error("the same post got another id")
	}
	if other, _ := evolution.DecodeAPI(body("100")); other.ID == e.ID {
		t.Error("two posts that differ in progress only have one id")
	}
	// The ids of events without such keys are those of earlier versions, so that a repetition across an upgrade is known.
	if e, _ := evolution.DecodeAPI([]byte(apiBody)); e.ID != "6cfdd940-4a79-8058-b946-8a76b8c0fe8e" {
		t.Errorf("the id of an event without further keys is now %s", e.ID)
	}
	g, err := evolution.DecodeGo([]byte(`{"event":"Message","data":{},"instanceName":"sales","Data":null,"server_url":"https://evil.example","jid":"5511"}`))
	if err != nil || string(g.Data) != "{}" || g.ServerURL != "" || string(g.Extras) != `{"jid":"5511"}` {
		t.Errorf("%+v, %v", g, err)
	}
}

func TestTheErrorWebhookBelongsToNoInstance(t *testing.T) {
	e, err := evolution.DecodeAPI([]byte(`{"event":"error","data":{"error":"Not Found","status":404},"date_time":"2025-10-21T11:00:39.512Z","api_key":"GLOBAL","server_url":"https://api.example"}`))
	if err != nil || e.Instance != "" || e.APIKey != "" || strings.Contains(string(e.Data), "GLOBAL") {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestThePlaceholderForAMissingTokenIsNoToken(t *testing.T) {
	e, err := evolution.DecodeAPI([]byte(`{"event":"call","instance":"sales","data":null,"apikey":"Apikey not found"}`))
	if err != nil || e.APIKey != "" {
		t.Errorf("apikey = %q, %v", e.APIKey, err)
	}
}

func TestWhatIsNoWebhookOfEvolutionAPIIsRefusedInWords(t *testing.T) {
	for body, want := range map[string]string{
		``:                              "not valid JSON",
		`[]`:                            "expected a JSON object",
		`{"instance":"sales"}`:          `"event" is missing`,
		`{"event":"call"}`:              `"instance" is missing`,
		`{"event":"call","instance":7}`: `"instance" must be a string`,
		`{"event":"call","instance":"sales","date_time":"today"}`: "RFC 3339",
	} {
		_, err := evolution.DecodeAPI([]byte(body))
		if !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: err = %v, want %q", body, err, want)
		}
	}
}

func TestAnEvolutionGoEnvelopeBecomesAnEvent(t *testing.T) {
	e, err := evolution.DecodeGo([]byte(goBody))
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != "Message" || e.Instance != "sales" || e.APIKey != "tok-1" || e.Origin != "evolution-go" {
		t.Errorf("fields were lost: %+v", e)
	}
	if want := time.Date(2026, 3, 25, 14, 0, 39, 0, time.UTC); !e.Time.Equal(want) {
		t.Errorf("time = %s, want %s", e.Time, want)
	}
	again, _ := evolution.DecodeGo([]byte(goBody))
	if e.ID == "" || again.ID != e.ID {
		t.Errorf("ids of one envelope: %q and %q", e.ID, again.ID)
	}
}

func TestAnEvolutionGoInstanceWithoutANameGoesByItsID(t *testing.T) {
	e, err := evolution.DecodeGo([]byte(`{"event":"Connected","data":{},"instanceId":"0f6f"}`))
	if err != nil || e.Instance != "0f6f" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestStateMovesIntoTheData(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{`{"Chat":"a","Timestamp":"2026-03-25T11:00:39Z"}`, `{"Chat":"a","Timestamp":"2026-03-25T11:00:39Z","state":"Read"}`},
		{`{ }`, `{ "state":"Read"}`},
		{`{"state":"mine"}`, `{"state":"mine"}`},
		{`null`, `null`},
		{`[1]`, `[1]`},
	} {
		e, err := evolution.DecodeGo([]byte(`{"event":"Receipt","data":` + c.data + `,"state":"Read","instanceName":"sales"}`))
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Data) != c.want {
			t.Errorf("data %s became %s, want %s", c.data, e.Data, c.want)
		}
	}
}

func TestAnEvolutionGoEventWithoutATimeGetsNoDerivedID(t *testing.T) {
	for _, data := range []string{`{"State":"composing"}`, `{"Timestamp":17}`, `{"Info":"x"}`, `7`, `null`} {
		e, err := evolution.DecodeGo([]byte(`{"event":"ChatPresence","data":` + data + `,"instanceName":"sales"}`))
		if err != nil || e.ID != "" || !e.Time.IsZero() {
			t.Errorf("%s: %+v, %v", data, e, err)
		}
	}
}

func TestWhatIsNoEvolutionGoEnvelopeIsRefusedInWords(t *testing.T) {
	for body, want := range map[string]string{
		`{`:                                     "not valid JSON",
		`"x"`:                                   "expected a JSON object",
		`{"event":"Message"}`:                   "not an Evolution Go envelope",
		`{"data":{},"instanceName":"sales"}`:    "not an Evolution Go envelope",
		`{"event":"Message","instanceName":[]}`: `"instanceName" must be a string`,
		`{"event":"Message","instanceName":"sales","Data":{}}`: `the key "Data" must be written "data"`,
	} {
		_, err := evolution.DecodeGo([]byte(body))
		if !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: err = %v, want %q", body, err, want)
		}
	}
}

func FuzzDecodeAPI(f *testing.F) {
	f.Add([]byte(apiBody))
	f.Add([]byte(`{"event":"error","data":{}}`))
	f.Add([]byte(`{"isLatest":true,"progress":50,"event":"messages.set","instance":"sales","data":[],"Data":null,"date_time":"2025-10-21T11:00:39.512Z"}`))
	f.Add([]byte("\ufeff" + `{"event":"call","instance":"sales","data":"\ud800","server_url":"localhost:8080","Event":"x"}`))
	f.Add([]byte(`{"event":"remove.instance","instance":"sales","data":null,"date_time":"2025-10-21T11:00:39.512Z"}`))
	f.Fuzz(func(t *testing.T, body []byte) { checkDecoder(t, evolution.DecodeAPI, body) })
}

func FuzzDecodeGo(f *testing.F) {
	f.Add([]byte(goBody))
	f.Add([]byte(`{"event":"Receipt","state":"Read","data":{"MessageIDs":["3EB0"],"Timestamp":"2026-03-25T11:00:39Z"},"instanceName":"sales"}`))
	f.Add([]byte("\ufeff" + `{"event":"Message","Event":"x","data":{"\ud800":1},"jid":"5511","instanceName":"sales"}`))
	f.Add([]byte(`{"event":"Presence","state":"online","data":{ },"instanceId":"0f6f"}`))
	f.Fuzz(func(t *testing.T, body []byte) { checkDecoder(t, evolution.DecodeGo, body) })
}

// checkDecoder holds a decoder to its contract: an error that wraps ErrInvalid, or an event that has a name, has an
// instance unless it is the error webhook, has valid data, and comes out the same again.
func checkDecoder(t *testing.T, decode func([]byte) (*event.Event, error), body []byte) {
	e, err := decode(body)
	if err != nil {
		if !errors.Is(err, event.ErrInvalid) {
			t.Fatalf("an error of no known kind: %v", err)
		}
		return
	}
	if e.Instance == "" && e.Name != "error" {
		t.Fatalf("an event of nothing: %+v", e)
	}
	if len(e.Data) > 0 && !json.Valid(e.Data) {
		t.Fatalf("data is not JSON: %q", e.Data)
	}
	if again, err := decode(body); err != nil || again.ID != e.ID || string(again.Data) != string(e.Data) {
		t.Fatalf("decoded twice: %+v and %+v (%v)", e, again, err)
	}
}

// BenchmarkDecode is what a webhook of 1 MiB costs behind its body: decoded, given an id, and found valid.
func BenchmarkDecode(b *testing.B) {
	data := `{"Info":{"Timestamp":"2026-03-25T11:00:39Z"},"list":["` + strings.Repeat(`text","`, 1<<20/7) + `"]}`
	for name, c := range map[string]struct {
		decode func([]byte) (*event.Event, error)
		body   string
	}{
		"api": {evolution.DecodeAPI, `{"event":"messages.set","instance":"sales","date_time":"2025-10-21T11:00:39.512Z","data":` + data + `}`},
		"go":  {evolution.DecodeGo, `{"event":"HistorySync","instanceName":"sales","data":` + data + `}`},
	} {
		b.Run(name, func(b *testing.B) {
			body := []byte(c.body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if e, err := c.decode(body); err != nil || e.Validate() != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
