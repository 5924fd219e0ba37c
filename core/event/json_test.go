package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"weak"

	"github.com/evosink/evosink/core/event"
)

type inner struct {
	A int `json:"a"`
}

// shape has every way in which a struct may hold others.
type shape struct {
	inner
	Name   string           `json:"name"`
	Plain  int              // known by its own name
	Hidden int              `json:"-"`
	Deep   inner            `json:"deep"`
	Far    *inner           `json:"far"`
	List   []inner          `json:"list"`
	Map    map[string]inner `json:"map"`
	Raw    json.RawMessage  `json:"raw"`
}

func TestUnmarshalMatchesExactNamesAtEveryDepth(t *testing.T) {
	for in, want := range map[string]shape{
		`{"name":"x","Name":"y","NAME":7}`:                {Name: "x"},
		`{"Name":"y","name":"x"}`:                         {Name: "x"},
		`{"NAME":"y"}`:                                    {},
		`{"plain":1,"Plain":2,"hidden":3,"Hidden":4}`:     {Plain: 2},
		`{"a":1,"A":2}`:                                   {inner: inner{1}},
		`{"deep":{"a":1,"A":2},"Deep":{"a":3}}`:           {Deep: inner{1}},
		`{"far":{"A":2}}`:                                 {Far: &inner{}},
		`{"list":[{"a":1,"A":2},{"A":3}]}`:                {List: []inner{{1}, {}}},
		`{"map":{"A":{"a":1,"A":2}}}`:                     {Map: map[string]inner{"A": {1}}},
		`{"raw":{"Name":1},"RAW":2}`:                      {Raw: json.RawMessage(`{"Name":1}`)},
		`{"n\u0061me":"x","N\u0061me":"y","\u017fame":1}`: {Name: "x"},
		"\ufeff{\"name\":\"x\"}":                          {Name: "x"},
		`null`:                                            {},
	} {
		given := []byte(in)
		var got shape
		if err := event.Unmarshal(given, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %+v, %v, want %+v", in, got, err, want)
		}
		if string(given) != in {
			t.Errorf("the caller's bytes were changed to %s", given)
		}
	}
}

func TestUnmarshalFailsAsEncodingJSONDoes(t *testing.T) {
	for _, in := range []string{``, `{`, `{"name":1}`, `[]`, `{"deep":{"a":"x"}}`, `{"name":"x"} y`} {
		var a, b shape
		got, want := event.Unmarshal([]byte(in), &a), json.Unmarshal([]byte(in), &b)
		if got == nil || want == nil || got.Error() != want.Error() {
			t.Errorf("%s: %v, want %v", in, got, want)
		}
	}
}

func TestHalvesOfSurrogatePairsBecomeAReplacementAndNothingElseChanges(t *testing.T) {
	for in, want := range map[string]string{
		`"\ud800"`:                    `"\ufffd"`,
		`"\udc00 \uDBFF \uDfFf"`:      `"\ufffd \ufffd \ufffd"`,
		`"\ud83d\ude00"`:              `"\ud83d\ude00"`,
		`"\uD83D\uDE00\ude00"`:        `"\uD83D\uDE00\ufffd"`,
		`"\ud83d\ud83d\ude00"`:        `"\ufffd\ud83d\ude00"`,
		`"\ud83d\\ude00"`:             `"\ufffd\\ude00"`,
		`"\\ud800"`:                   `"\\ud800"`,
		`"\\\ud800"`:                  `"\\\ufffd"`,
		`"\ud83d\u0041"`:              `"\ufffd\u0041"`,
		`"\ud7ff\ue000"`:              `"\ud7ff\ue000"`,
		`{"\ud800":["\ud800", "x" ]}`: `{"\ufffd":["\ufffd", "x" ]}`,
		``:                            `null`,
	} {
		given := []byte(in)
		if got := string(event.AppendJSON([]byte("x"), given)); got != "x"+want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
		if string(given) != in {
			t.Errorf("the producer's bytes were changed to %s", given)
		}
	}
}

func TestFindTakesExactKeysOfOneObjectAndTheLastOfTwo(t *testing.T) {
	for in, want := range map[string][]string{
		`{"a":1,"b":{"a":2},"A":3}`:           {"1", `{"a":2}`},
		" { \"b\" : [1, {}] , \"a\":\"}\" } ": {`"}"`, "[1, {}]"},
		`{"a":1,"\u0061":2}`:                  {"2", ""},
		`{}`:                                  {"", ""},
		`null`:                                {"", ""},
		`[1]`:                                 {"", ""},
		`{"a":1,"b":}`:                        {"", ""},
		`{"a":1} x`:                           {"", ""},
		``:                                    {"", ""},
	} {
		got := event.Find([]byte(in), "a", "b")
		if string(got[0]) != want[0] || string(got[1]) != want[1] || (got[0] == nil) != (want[0] == "") {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{
		`{"name":"x","Name":"y"}`, `{"deep":{"A":1},"list":[{"A":2}],"map":{"x":{"A":3}}}`, "\ufeff{}", `{"\u017f":1}`, `[`, `null`, ` { } `,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var got, want shape
		err := event.Unmarshal(b, &got)
		if !bytes.Equal(b, before) {
			t.Fatal("the caller's bytes were changed")
		}
		if err != nil {
			return
		}
		// What encoding/json writes of it has exact names only: both must read the same from it.
		exact, err := json.Marshal(got)
		if err != nil {
			return // a raw value that was not given
		}
		var again shape
		if event.Unmarshal(exact, &again) != nil || json.Unmarshal(exact, &want) != nil || !reflect.DeepEqual(again, want) {
			t.Fatalf("%s gives %+v, %s gives %+v", b, again, exact, want)
		}
	})
}

func FuzzMembers(f *testing.F) {
	for _, seed := range []string{`{"a":1,"b":[{"c":"}"}],"d":"\\"}`, `{"a":1,"a":2}`, " {\t} ", "\ufeff{\"a\":-0.5e1}", `[]`, `null`, `{"\ud800":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := map[string]json.RawMessage{}
		err := event.Members(b, func(key string, value json.RawMessage) error {
			got[key] = bytes.TrimSpace(value)
			return nil
		})
		var want map[string]json.RawMessage
		if json.Unmarshal(event.WithoutBOM(b), &want) != nil {
			if err == nil {
				t.Fatalf("%q is taken, but is no object", b)
			}
			return
		}
		if err == nil && (len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want)) {
			t.Fatalf("%q: got %q, want %q", b, got, want)
		}
		if err != nil && len(want) < event.MaxKeys && !strings.Contains(err.Error(), "twice") {
			t.Fatalf("%q: %v", b, err)
		}
	})
}

// What is valid JSON and what is UTF-8 is decided in one pass here: it must be what the standard library says.
func FuzzDecoder(f *testing.F) {
	for _, seed := range []string{
		`{"a":1,"b":[{"c":"}"}],"d":"\\"}`, `[{"event":"x"}, {"event":"y"} ]`, `{}{}` + "\n{}", `[]`, `[1,]`, `[,1]`, `[1 2]`, `[1][2]`, `{"a":1,}`, `{"a" 1}`,
		`{"a":tru}`, `{"a":nul`, `{"a":-0.5e+1,"b":0}`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":-}`, `{"a":+1}`, "{\"a\":\"\x00\"}", "{\"12345678\t\":1}",
		`{"a":"\u00fF\n"}`, `{"a":"\u00fg"}`, `{"a":"\x"}`, `{"a":"12345678\"12345678\\"}`, "{\"a\":\"\xff\",\"b\":\"\xc3\xbc\"}", "{\"\xed\xa0\x80\":1}", "\ufeff {} ",
		"{\"a\":\"1234567\x1f12345678\"}", "{\"a\":\"12345678\x7f \xc2\x80\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(checkDecoder)
}

func TestValuesMayBeNestedAsDeepAsForEncodingJSON(t *testing.T) {
	for _, open := range []string{`[`, `{"a":`} {
		for n := 9_998; n <= 10_002; n++ {
			deep := strings.Repeat(open, n) + "1" + strings.Repeat(string(open[0]+2), n)
			checkDecoder(t, []byte(deep))
			checkDecoder(t, []byte(`[{},`+deep+`]`))
			checkDecoder(t, []byte(`{"event":"call","data":`+deep+`}`))
		}
	}
}

// checkDecoder compares what a Decoder makes of b with what the standard library does.
func checkDecoder(t *testing.T, b []byte) {
	var got []json.RawMessage
	d := event.NewDecoder(b)
	for d.Next() {
		got = append(got, d.Bytes())
		e, err := d.Event()
		if want, wrong := event.Decode(d.Bytes()); !reflect.DeepEqual(e, want) || fmt.Sprint(err) != fmt.Sprint(wrong) {
			t.Fatalf("%q: got %+v, %v, want %+v, %v", d.Bytes(), e, err, want, wrong)
		}
	}
	if d.Err() == nil && d.UTF8() != utf8.Valid(b) {
		t.Fatalf("%q: UTF-8 %v", b, d.UTF8())
	}
	text := bytes.Trim(event.WithoutBOM(b), " \t\r\n")
	var want []json.RawMessage
	var err error
	if d.List() {
		err = json.Unmarshal(text, &want)
	} else {
		for one := json.NewDecoder(bytes.NewReader(text)); err == nil; {
			var v json.RawMessage
			if err = one.Decode(&v); err == nil {
				want = append(want, v)
			}
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if (d.Err() == nil) != (err == nil) {
		t.Fatalf("%q: got %v, want %v", b, d.Err(), err)
	}
	if err == nil && len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: got %q, want %q", b, got, want)
	}
}

func FuzzAppendJSON(f *testing.F) {
	for _, seed := range []string{`"\ud800"`, `"\ud83d\ude00\udc00"`, `"\\\ud800\\ud800"`, `{"\uDFFF":"\uD"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !json.Valid(b) || !utf8.Valid(b) {
			return
		}
		out := event.AppendJSON(nil, b)
		if again := event.AppendJSON(nil, out); !bytes.Equal(again, out) {
			t.Fatalf("%s becomes %s, then %s", b, out, again)
		}
		var want, got any // encoding/json takes a half of a pair for U+FFFD
		if json.Unmarshal(b, &want) == nil && (json.Unmarshal(out, &got) != nil || !reflect.DeepEqual(got, want)) {
			t.Fatalf("%s means %v, %s means %v", b, want, out, got)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(`{"event":"messages.upsert","instance":"sales","data":{"text":"` + strings.Repeat("hello ", 170) + `"},"sender":"5511@s.whatsapp.net","apikey":null}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		e, err := event.Decode(body)
		if err != nil || e.Validate() != nil {
			b.Fatal(err)
		}
	}
}

// What keeps events, such as a queue's cache, counts their own bytes. A small one in a large body must not keep that.
func TestAnEventKeepsNoMuchLargerMemory(t *testing.T) {
	const small = `{"event":"messages.upsert","data":{"n":1}}`
	padding := strings.Repeat(" ", 1<<20)
	all := func(body []byte) (events []*event.Event, err error) {
		d := event.NewDecoder(body)
		for d.Next() {
			e, err := d.Event()
			if err != nil {
				return nil, err
			}
			events = append(events, e)
		}
		return events, d.Err()
	}
	one := func(e *event.Event, err error) ([]*event.Event, error) { return []*event.Event{e}, err }
	whole := func(b []byte) ([]*event.Event, error) { return one(event.Decode(b)) }
	keys := func(b []byte) ([]*event.Event, error) {
		return one(event.DecodeKeys(b, nil, func(e *event.Event, _ string, _ json.RawMessage) error {
			e.Name = "messages.upsert"
			return nil
		}))
	}
	for name, c := range map[string]struct {
		body   string
		decode func([]byte) ([]*event.Event, error)
	}{
		"one, and space behind it":       {small + padding, all},
		"one, and space before it":       {padding + small, all},
		"a list":                         {"[" + small + "," + padding + small + "]", all},
		"lines":                          {small + "\n" + padding + small, all},
		"another key":                    {`{"event":"a.b","data":{"n":1},"sender":"` + padding + `"}`, all},
		"Decode":                         {small + padding, whole},
		"DecodeKeys, and a key left out": {`{"event":"` + padding + `","data":{"n":1}}`, keys},
	} {
		t.Run(name, func(t *testing.T) {
			body := []byte(c.body)
			memory := weak.Make(&body[0])
			events, err := c.decode(body)
			if err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(20 * time.Second); memory.Value() != nil; runtime.GC() {
				if time.Now().After(end) {
					t.Fatal("an event of a few bytes keeps the memory of the whole body")
				}
			}
			for _, e := range events {
				if string(e.Data) != `{"n":1}` {
					t.Errorf("data is %q", e.Data)
				}
				e.Instance, e.Sender = "sales", ""
				if err := e.Validate(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	t.Run("one that is its body is not copied", func(t *testing.T) {
		body := []byte(`{"event":"a.b","data":"` + padding + `"}`)
		events, err := all(body)
		if err != nil {
			t.Fatal(err)
		}
		if &events[0].Data[0] != &body[len(`{"event":"a.b","data":`)] {
			t.Error("the data was copied")
		}
	})
}
