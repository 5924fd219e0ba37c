package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/core/event"
)

var sample = event.Event{
	ID: "0192aa", Name: "messages.upsert", Instance: "sales", Sender: "5511@s.whatsapp.net",
	ServerURL: "https://api.example", APIKey: "TOKEN",
	Time: time.Date(2025, 10, 21, 14, 0, 39, 512e6, time.UTC),
	Data: json.RawMessage(`{"text":"<b> & ünï", "n": 1.0}`),
}

func TestEnvelopeHasEvolutionsKeysInOrder(t *testing.T) {
	const want = `{"event":"messages.upsert","instance":"sales","data":{"text":"<b> & ünï", "n": 1.0},` +
		`"server_url":"https://api.example","date_time":"2025-10-21T14:00:39.512Z",` +
		`"sender":"5511@s.whatsapp.net","apikey":null,"id":"0192aa"}`
	if got := string(event.Codec{}.Append(nil, &sample)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEnvelopeLeavesOutWhatIsUnset(t *testing.T) {
	e := event.Event{Name: "remove.instance", Instance: "sales", Time: sample.Time}
	const want = `{"event":"remove.instance","instance":"sales","data":null,"date_time":"2025-10-21T14:00:39.512Z","apikey":null}`
	if got := string(event.Codec{}.Append(nil, &e)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEnvelopeOfASinkWithItsOwnKeys(t *testing.T) {
	c := event.Codec{
		Keys:         []string{"event", "destination", "nothing", "date_time", "apikey"},
		ExposeAPIKey: true, LocalTime: time.FixedZone("BRT", -3*3600),
	}
	got := string(c.Append([]byte("x"), &sample, event.Extra{Key: "destination", Value: []byte(`"u"`)}))
	const want = `x{"event":"messages.upsert","destination":"u","date_time":"2025-10-21T11:00:39.512Z","apikey":"TOKEN"}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := string(c.Append(nil, &event.Event{Name: "x"})); !strings.Contains(got, `"apikey":"Apikey not found"`) {
		t.Errorf("an instance without a token: %s", got)
	}
}

func TestDecodeReadsProducersAndEvolutionsBodies(t *testing.T) {
	e, err := event.Decode([]byte(`{"event":"MESSAGES_UPSERT","data": {"a":  [1]} ,"id":"x","sender":"s","apikey":null,
		"date_time":"2025-10-21T11:00:39.5129-03:00","sinks":["websocket"],"destination":"http://x"}`))
	if err != nil {
		t.Fatal(err)
	}
	if e.Name != "messages.upsert" || string(e.Data) != `{"a":  [1]}` || e.ID != "x" || e.Sinks[0] != "websocket" ||
		!e.Time.Equal(time.Date(2025, 10, 21, 14, 0, 39, 512e6, time.UTC)) {
		t.Errorf("got %+v", e)
	}
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	for body, says := range map[string]string{
		``:                              "not valid JSON",
		`{"event":"x"`:                  "not valid JSON",
		`[]`:                            "expected a JSON object, got array",
		`{}`:                            `"event" is missing`,
		`{"event":null}`:                `"event" is missing`,
		`{"event":1}`:                   `"event" must be a string, got number`,
		`{"event":"x","sinks":"all"}`:   `"sinks" must be a list of strings`,
		`{"event":"x","date_time":"y"}`: "not an RFC 3339 time",
	} {
		if _, err := event.Decode([]byte(body)); !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want it to say %q", body, err, says)
		}
	}
}

func TestKeysOfEnvelopesAreExact(t *testing.T) {
	e, err := event.Decode([]byte("\ufeff" + `{"event":"call","Event":"new.jwt","data":{"a":1},"Data":null,"DATA":7,"\u0069d":"x","ID":"y"}`))
	if err != nil || e.Name != "call" || string(e.Data) != `{"a":1}` || e.ID != "x" || e.Extras != nil {
		t.Errorf("%+v, %v", e, err)
	}
	for body, says := range map[string]string{
		`{"event":"call","Data":{"a":1}}`:          `the key "Data" must be written "data"`,
		`{"Event":"call"}`:                         `the key "Event" must be written "event"`,
		`{"event":"call","data":1,"data":2}`:       `"data" is given twice`,
		`{"event":"call","x":1,"\u0078":2}`:        `"x" is given twice`,
		`{"event":"call",` + many(256) + `"z":1}`:  "more than 256 keys",
		`{"event":"call","sinks":["a",1]}`:         `"sinks" must be a list of strings, got array`,
		`{"event":"call","sinks":[],"sender":null`: "not valid JSON",
	} {
		if _, err := event.Decode([]byte(body)); !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60s: got %v, want it to say %q", body, err, says)
		}
	}
}

// many is so many members of an object, each with a comma behind it.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"k%d":%d,`, i, i)
	}
	return b.String()
}

func TestKeysThatAreNotOursAreCarriedInOrderAndNeverShadowOurs(t *testing.T) {
	e, err := event.Decode([]byte(`{"progress": 50,"event":"messages.set","isLatest":true,"data":[1],"instance":"sales","SINKS":1,"sinks":[],
		"destination":"https://x?apikey=SECRET","Destination":"SECRET","api_key":"SECRET","timestamp":7,"n\u0061me":{ "a" :"\ud800" },"d\u0061ta":null}`))
	if err == nil {
		t.Fatalf("a key that is given twice, once by an escape, is taken: %+v", e)
	}
	e, err = event.Decode([]byte(`{"progress": 50,"event":"messages.set","isLatest":true,"data":[1],"instance":"sales","SINKS":1,"sinks":[],
		"destination":"https://x?apikey=SECRET","Destination":"SECRET","api_key":"SECRET","timestamp":7,"n\u0061me":{ "a" :"\ud800" }}`))
	if err != nil || e.Validate() != nil {
		t.Fatal(err, e.Validate())
	}
	if want := `{"progress":50,"isLatest":true,"timestamp":7,"name":{ "a" :"\ud800" }}`; string(e.Extras) != want {
		t.Errorf("extras %s\nwant   %s", e.Extras, want)
	}
	e.Time = sample.Time
	const want = `{"event":"messages.set","instance":"sales","data":[1],"date_time":"2025-10-21T14:00:39.512Z","apikey":null,` +
		`"progress":50,"isLatest":true,"timestamp":7,"name":{ "a" :"\ufffd" }}`
	if got := string(event.Codec{}.Append(nil, e)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	kafka := event.Codec{Keys: []string{"event", "timestamp"}}
	if got := string(kafka.Append(nil, e, event.Extra{Key: "timestamp", Value: []byte("1")})); strings.Count(got, "timestamp") != 1 ||
		!strings.Contains(got, `"timestamp":1,"progress":50`) {
		t.Errorf("a sink's own key is shadowed: %s", got)
	}
	if got := string(kafka.Append(nil, &event.Event{Name: "x", Extras: []byte(`{"apikey":"k","Data":1,"EVENT":2,"a":3}`)})); got != `{"event":"x","a":3}` {
		t.Errorf("what a host put into extras shadows keys of ours: %s", got)
	}
}

func TestExtrasAreBounded(t *testing.T) {
	for extras, says := range map[string]string{
		`{"a":"` + strings.Repeat("x", event.MaxExtras) + `"}`: "at most 65536",
		`{"Data":1}`:               `must not hold "Data": the envelope has "data"`,
		`[1]`:                      "must be a JSON object",
		`null`:                     "must be a JSON object",
		`{"a":1`:                   "not valid JSON",
		"{\"a\":\"\xff\"}":         "not valid UTF-8",
		"{" + many(256) + `"z":1}`: "more than 256 keys",
	} {
		e := event.Event{Name: "call", Instance: "sales", Extras: json.RawMessage(extras)}
		if err := e.Validate(); !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40s: got %v, want it to say %q", extras, err, says)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"event":"messages.upsert","data":{"a":1}}`))
	f.Add(event.Codec{ExposeAPIKey: true}.Append(nil, &sample))
	f.Add([]byte(`{"event":"x","date_time":"9999-12-31T23:59:59+00:00","data":null}`))
	f.Add([]byte(`{"event":"messages.set","data":[],"isLatest":true,"progress":50,"destination":"https://x"}`))
	f.Add([]byte(`{"event":"x","data":{"a":1},"Data":null,"Event":"y"}`))
	f.Add([]byte("\ufeff" + `{"event":"x","data":{"a":1},"a":{"b":"\ud800\\"},"\ud800":1}`))
	f.Add([]byte(`{"event":"x","data":"\ud83d\ude00 \uDBFF \\ud800 \ud800\ud800","x":1,"x":2}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := event.Decode(body)
		if err != nil || e.Validate() != nil {
			return
		}
		envelope := event.Codec{ExposeAPIKey: true}.Append(nil, e)
		again, err := event.Decode(envelope)
		if err != nil {
			t.Fatalf("our own envelope %s: %v", envelope, err)
		}
		if again.Name != e.Name || again.Instance != e.Instance || again.ID != e.ID || again.Sender != e.Sender {
			t.Fatalf("%+v came back as %+v", e, again)
		}
		if len(e.Data) > 0 && !bytes.Equal(event.AppendJSON(nil, e.Data), again.Data) {
			t.Fatalf("data %q came back as %q", e.Data, again.Data)
		}
		if !json.Valid(envelope) {
			t.Fatalf("the envelope is not JSON: %s", envelope)
		}
		once := event.Codec{ExposeAPIKey: true}.Append(nil, again)
		if again.Time = e.Time; len(e.Data) > 0 && !e.Time.IsZero() && !bytes.Equal(once, envelope) {
			t.Fatalf("%s came back as %s", envelope, once)
		}
	})
}

func FuzzAppendString(f *testing.F) {
	for _, seed := range []string{"", "plain", "q\"b\\", "\x00\x1f", "\xff", "\u2028", "😀"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var back string
		if err := json.Unmarshal(event.AppendString(nil, s), &back); err != nil {
			t.Fatal(err)
		}
		if back != strings.ToValidUTF8(s, "\ufffd") && strings.ToValidUTF8(back, "") != back {
			t.Fatalf("%q came back as %q", s, back)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	e := sample
	e.Data = append(append(json.RawMessage(`"`), bytes.Repeat([]byte("x"), 1022)...), '"')
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = event.Codec{}.Append(buf[:0], &e)
	}
}
