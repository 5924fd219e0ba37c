package event_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/core/event"
)

func TestDataThatWasDecodedIsCheckedAgainWhenOtherBytesTakeItsPlace(t *testing.T) {
	const body = `{"event":"call","instance":"sales","data":{"a":1},"x":[1]}`
	for says, change := range map[string]func(e *event.Event){
		"data is not valid JSON":        func(e *event.Event) { e.Data = json.RawMessage(`{"a":1]`) },
		"data is not valid UTF-8":       func(e *event.Event) { e.Data = json.RawMessage("{\"\xff\":1}") },
		"extras must not hold \"Data\"": func(e *event.Event) { e.Extras = json.RawMessage(`{"Data":1}`) },
	} {
		e, err := event.Decode([]byte(body))
		if err != nil || e.Validate() != nil {
			t.Fatal(err, e.Validate())
		}
		if change(e); e.Validate() == nil || !strings.Contains(e.Validate().Error(), says) {
			t.Errorf("%+v: got %v, want it to say %q", e, e.Validate(), says)
		}
	}
	e, err := event.Decode([]byte("{\"event\":\"call\",\"instance\":\"sales\",\"data\":\"\xff\",\"sender\":\"x\"}"))
	if err != nil || e.Validate() == nil || !strings.Contains(e.Validate().Error(), "data is not valid UTF-8") {
		t.Errorf("%+v, %v", e, err)
	}
}

func valid() event.Event {
	return event.Event{
		ID: "0192", Name: "messages.upsert", Instance: "sales", Time: time.Now(),
		Data: json.RawMessage(`{"a": 1}`),
	}
}

func TestValidateAcceptsWhatProducersSend(t *testing.T) {
	for name, change := range map[string]func(*event.Event){
		"a name of the catalogue":          func(*event.Event) {},
		"a custom name":                    func(e *event.Event) { e.Name = "my.own-event" },
		"a name of exactly 128 bytes":      func(e *event.Event) { e.Name = strings.Repeat("n", 128) },
		"an instance with a space":         func(e *event.Event) { e.Instance = "my sales" },
		"an instance in unicode":           func(e *event.Event) { e.Instance = "vendas-são-paulo-😀" },
		"an instance of exactly 255 bytes": func(e *event.Event) { e.Instance = strings.Repeat("i", 255) },
		"no data":                          func(e *event.Event) { e.Data = nil },
		"data that is a scalar":            func(e *event.Event) { e.Data = json.RawMessage(`"x"`) },
	} {
		e := valid()
		change(&e)
		if err := e.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidateRefusesAndSaysWhy(t *testing.T) {
	for _, c := range []struct {
		change func(*event.Event)
		says   string
	}{
		{func(e *event.Event) { e.Name = "" }, "event must not be empty"},
		{func(e *event.Event) { e.Name = strings.Repeat("n", 129) }, "at most 128"},
		{func(e *event.Event) { e.Name = "two words" }, "must not contain spaces"},
		{func(e *event.Event) { e.Name = "bell\a" }, "control characters"},
		{func(e *event.Event) { e.Name = "\xff" }, "not valid UTF-8"},
		{func(e *event.Event) { e.Instance = "" }, "instance must not be empty"},
		{func(e *event.Event) { e.Instance = "a/b" }, "must not contain any of"},
		{func(e *event.Event) { e.Instance = "a,b" }, "must not contain any of"},
		{func(e *event.Event) { e.Instance = " a" }, "white space"},
		{func(e *event.Event) { e.Instance = ".." }, `".."`},
		{func(e *event.Event) { e.Instance = strings.Repeat("i", 300) }, "has 300 bytes, at most 255"},
		{func(e *event.Event) { e.Data = json.RawMessage(`{"a":`) }, "data is not valid JSON"},
		{func(e *event.Event) { e.Data = json.RawMessage("\"\xff\"") }, "data is not valid UTF-8"},
		{func(e *event.Event) { e.Sinks = []string{""} }, "empty name"},
		{func(e *event.Event) { e.Sinks = make([]string, 65) }, "at most 64"},
		{func(e *event.Event) { e.ID = strings.Repeat("i", 129) }, "id has 129 bytes"},
	} {
		e := valid()
		c.change(&e)
		err := e.Validate()
		if !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want it to say %q", err, c.says)
		}
	}
}

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	err := (&event.Event{}).Validate()
	for _, part := range []string{"event must not be empty", "instance must not be empty"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}

func TestNewIDsAreUUIDv7AndGrow(t *testing.T) {
	last := ""
	for range 10_000 {
		id := event.NewID()
		if len(id) != 36 || id[14] != '7' || !strings.ContainsRune("89ab", rune(id[19])) {
			t.Fatalf("%q is no UUIDv7", id)
		}
		if id <= last {
			t.Fatalf("%q came after %q", id, last)
		}
		last = id
	}
}

func BenchmarkNewID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		event.NewID()
	}
}
