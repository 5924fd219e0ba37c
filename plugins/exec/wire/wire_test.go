package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/plugins/exec/wire"
)

func delivery(data string) *sink.Delivery {
	return &sink.Delivery{
		Event: &event.Event{
			ID: "0192", Name: "messages.upsert", Instance: "sales", Time: time.Date(2025, 10, 21, 14, 0, 39, 512e6, time.UTC),
			Sender: "55@s.whatsapp.net", Data: json.RawMessage(data),
		},
		Scope: sink.Instance, Target: "instance", Settings: json.RawMessage(`{"enabled":true}`), Attempt: 2, Key: "0192/instance",
	}
}

func TestAnEventIsWrittenAsTheProtocolSays(t *testing.T) {
	want := `{"type":"event","id":"d-42","key":"0192/instance","attempt":2,"instance":"sales","event":"messages.upsert","scope":"instance",` +
		`"event_id":"0192","date_time":"2025-10-21T14:00:39.512Z","sender":"55@s.whatsapp.net","settings":{"enabled":true},"data":{"a":1}}` + "\n"
	if got := string(wire.Event(42, delivery(`{"a":1}`))); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	d := delivery("[]")
	d.Event.Extras = json.RawMessage(`{"isLatest":true,"type":"\udfff"}`)
	if got := string(wire.Event(1, d)); !strings.HasSuffix(got, `"data":[],"extra":{"isLatest":true,"type":"\ufffd"}}`+"\n") {
		t.Errorf("with further keys it is %s", got)
	}
	if got := string(wire.Init("slack", "n1", nil)); got != `{"type":"init","protocol":1,"name":"slack","node":"n1","config":{}}`+"\n" {
		t.Errorf("init is %s", got)
	}
}

func TestNothingInAnEventEndsItsLine(t *testing.T) {
	for _, data := range []string{
		"{\n  \"a\": 1,\r\n  \"b\": 2\n}", "{\"a\":\"x\u2028y\u2029z\"}", "{\"a\":\"\u2019\u2028\"}", "\"\xff\"", "\"\xe2\x80\"", "",
	} {
		line := wire.Event(1, delivery(data))
		body := bytes.TrimSuffix(line, []byte("\n"))
		if !json.Valid(body) || !utf8.Valid(body) || bytes.ContainsAny(body, "\n\r\u2028\u2029") {
			t.Errorf("%q becomes %q", data, line)
		}
		var got struct{ Data any }
		var want any
		_ = json.Unmarshal(body, &got)
		_ = json.Unmarshal(bytes.ToValidUTF8([]byte(data), []byte("\ufffd")), &want)
		if a, b := mustJSON(t, got.Data), mustJSON(t, want); a != b {
			t.Errorf("%q means %s, want %s", data, a, b)
		}
	}
}

// Perl's JSON::PP, jq, PHP and Ruby refuse a line with half of a surrogate pair in an escape.
func TestALineHoldsNoHalfOfASurrogatePair(t *testing.T) {
	d := delivery(`{"a":"\ud800","b":"\ud83d\ude00","c":"\\ud800","\uDFFF":1}`)
	d.Settings = json.RawMessage(`{"enabled":true,"x":"\udc00"}`)
	if got, want := string(wire.Event(1, d)), `"settings":{"enabled":true,"x":"\ufffd"},"data":{"a":"\ufffd","b":"\ud83d\ude00","c":"\\ud800","\ufffd":1}}`; !strings.Contains(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := string(wire.Init("slack", "n1", []byte(`{"a":"\ud800"}`))); !strings.Contains(got, `"config":{"a":"\ufffd"}`) {
		t.Errorf("init is %s", got)
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRepliesAreReadAndBadOnesExplained(t *testing.T) {
	for line, want := range map[string]wire.Reply{
		`{"type":"ack","id":"d-42"}`:                                         {Type: wire.Ack, Delivery: 42},
		`{"type":"ack","id":"d-42","ID":"d-43","Type":"nack"}`:               {Type: wire.Ack, Delivery: 42},
		"\ufeff" + `{"type":"ready","protocol":1,"Protocol":2}`:              {Type: wire.Ready, Protocol: 1, MaxInFlight: wire.DefaultMaxInFlight},
		` { "id" : "d-7" , "type" : "ack", "x":1}`:                           {Type: wire.Ack, Delivery: 7},
		`{"type":"nack","id":"d-1","error":"50\u001b[1m3","permanent":true}`: {Type: wire.Nack, Delivery: 1, Error: "50 [1m3", Permanent: true},
		`{"type":"nack","id":"d-1","retry_after_ms":1.5}`:                    {Type: wire.Nack, Delivery: 1, HasRetry: true, RetryAfter: 1500 * time.Microsecond},
		`{"type":"nack","id":"d-1","retry_after_ms":1e300}`:                  {Type: wire.Nack, Delivery: 1, HasRetry: true, RetryAfter: wire.MaxWait},
		`{"type":"nack","id":"d-1","retry_after_ms":-5,"unavailable":true}`:  {Type: wire.Nack, Delivery: 1, HasRetry: true, Unavailable: true},
		`{"type":"log","level":"warning","msg":"a\nb"}`:                      {Type: wire.Log, Level: "warn", Text: "a b"},
		`{"type":"pong"}`:               {Type: wire.Pong},
		`{"type":"drained"}`:            {Type: wire.Drained},
		`{"type":"ready","protocol":1}`: {Type: wire.Ready, Protocol: 1, MaxInFlight: wire.DefaultMaxInFlight},
		`{"type":"ready","protocol":1,"max_in_flight":99999,"config_schema":null}`: {Type: wire.Ready, Protocol: 1, MaxInFlight: wire.MaxInFlight},
	} {
		if got, err := wire.Decode([]byte(line)); err != nil || mustJSON(t, got) != mustJSON(t, want) {
			t.Errorf("%s\n got %+v, %v\nwant %+v", line, got, err, want)
		}
	}
	for line, want := range map[string]string{
		`hello`: "not JSON", ``: "not JSON", `[1]`: "array, not an object", `7`: "number, not an object",
		`{}`: `"type" is missing`, `{"type":"ACK"}`: `unknown type "ACK"`, `{"type":7}`: `"type" must not be`,
		`{"type":"ack"}`: `no "id"`, `{"type":"ack","id":"42"}`: "no event had", `{"type":"ack","id":"d-042"}`: "no event had",
		`{"type":"ack","id":"d-99999999999999999999"}`: "no event had", `{"type":"ack","id":42}`: `"id" must not be a JSON number`,
		`{"type":"ready"}`: `no "protocol"`, `{"type":"ready","protocol":2}`: "speaks protocol 2",
		`{"type":"ready","protocol":1,"max_in_flight":0}`:                   "at least 1",
		`{"type":"log","msg":"` + strings.Repeat("x", wire.MaxReply) + `"}`: "at most",
	} {
		if _, err := wire.Decode([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: got %v, want %q", line, err, want)
		}
	}
}

func TestTextOfAPluginIsBoundedAndPrintable(t *testing.T) {
	got := wire.Printable([]byte("\x1b[31m" + strings.Repeat("ä", wire.MaxText) + "\xff"))
	if len(got) > wire.MaxText+8 || strings.ContainsRune(got, 0x1b) || !utf8.ValidString(got) {
		t.Errorf("%d bytes: %.40q", len(got), got)
	}
}

func TestLinesAreCutAtTheLimitAndTheNextOneIsWhole(t *testing.T) {
	const limit = 40_000 // beyond the reader's buffer
	long := strings.Repeat("y", limit)
	in := "one\r\n\n" + long + "\n" + long + "z\n" + strings.Repeat("x", 200_000) + "\ntwo\nlast"
	want := []string{"one", "", long, long + " cut", strings.Repeat("x", limit) + " cut", "two", "last"}
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in))} {
		lines := wire.NewLines(r, limit)
		for i, w := range want {
			line, cut, err := lines.Next()
			if got := string(line); err != nil || cut != strings.HasSuffix(w, " cut") || got != strings.TrimSuffix(w, " cut") {
				t.Fatalf("%s: line %d is %.20q (%d bytes), cut %v, %v", name, i, got, len(got), cut, err)
			}
		}
		if _, _, err := lines.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v at the end", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"type":"ack","id":"d-42"}`, `{"type":"nack","id":"d-42","error":"503","retry_after_ms":5000,"permanent":false}`,
		`{"type":"log","level":"info","msg":"…"}`, `{"type":"pong"}`, `{"type":"drained"}`, `0/admin`, `{"type":"ack","id":"d-"}`,
		`{"type":"ready","protocol":1,"scope":"work","max_in_flight":64,"settings_schema":{"type":"object"},"config_schema":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := wire.Decode(b)
		if err != nil {
			if s := err.Error(); len(s) > 400 || !utf8.ValidString(s) || strings.ContainsAny(s, "\n\r\x1b") {
				t.Errorf("the error is not fit to print: %q", s)
			}
			return
		}
		switch {
		case len(r.Error) > wire.MaxText+8 || len(r.Text) > wire.MaxText+8 || strings.ContainsAny(r.Error+r.Text, "\n\x1b"):
			t.Errorf("text is not bounded or not printable: %+v", r)
		case r.RetryAfter < 0 || r.RetryAfter > wire.MaxWait:
			t.Errorf("wait of %v", r.RetryAfter)
		case r.Type == wire.Ready && (r.MaxInFlight < 1 || r.MaxInFlight > wire.MaxInFlight || r.Protocol != wire.Protocol):
			t.Errorf("ready of %+v", r)
		case r.Type == 0:
			t.Error("a reply without a type")
		}
	})
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("one\ntwo\r\nthree"), 4)
	f.Fuzz(func(t *testing.T, b []byte, limit int) {
		limit = 1 + (limit&0xffff+0x10000)&0xffff
		lines := wire.NewLines(bytes.NewReader(b), limit)
		for n := 0; ; n++ {
			line, _, err := lines.Next()
			if err != nil {
				return
			}
			if len(line) > limit || bytes.IndexByte(line, '\n') >= 0 || n > len(b) {
				t.Fatalf("line %d has %d bytes with a limit of %d", n, len(line), limit)
			}
		}
	})
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte("{\n\"a\":\"\u2028\"}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !json.Valid(data) {
			return
		}
		line := wire.Event(1, delivery(string(data)))
		if body := line[:len(line)-1]; !json.Valid(body) || !utf8.Valid(body) || bytes.ContainsAny(body, "\n\r\u2028\u2029") {
			t.Errorf("%q becomes %q", data, line)
		}
	})
}

func BenchmarkDecodeAck(b *testing.B) {
	line := []byte(`{"type":"ack","id":"d-123456"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.Decode(line); err != nil {
			b.Fatal(err)
		}
	}
}
