package row

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/evosink/evosink/core/event"
)

// FuzzDecodeEvent reads what a damaged file might hold: no panic, no allocation that the bytes do not justify, and what
// is taken is written back as it was.
func FuzzDecodeEvent(f *testing.F) {
	full := &event.Event{
		ID: "id", Name: "messages.upsert", Instance: "sales", Time: time.Date(2026, 5, 4, 3, 2, 1, 7e6, time.UTC), Sender: "s",
		ServerURL: "u", Origin: "o", APIKey: "k", Sinks: []string{"webhook", "nats"},
	}
	f.Add(FromEvent(full).Metadata)
	f.Add(FromEvent(&event.Event{}).Metadata)
	f.Add(FromEvent(&event.Event{Name: "messages.set", Extras: []byte(`{"isLatest":true}`)}).Metadata)
	f.Add([]byte{})
	f.Add([]byte{eventFormat})
	f.Add([]byte{2, 0})
	f.Add(append([]byte{eventFormat, 0, 0, 0, 0, 0, 0, 0}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Row{ID: "id", Metadata: b, Payload: []byte("1")}.Event()
		if err != nil {
			return
		}
		again, err := FromEvent(e).Event()
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Errorf("%x is read as %+v and comes back as %+v, %v", b, e, again, err)
		}
	})
}

func TestAnEventComesBackFromItsColumns(t *testing.T) {
	want := &event.Event{ID: "id", Name: "call", Instance: "sales", Time: time.UnixMilli(1).UTC(), Data: []byte(`{"a":1}`)}
	s := FromEvent(want)
	if got, err := s.Event(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("came back as %+v, %v", got, err)
	}
	if s.Metadata[0] != 1 {
		t.Errorf("an event that an older program can read is stored in format %d", s.Metadata[0])
	}
	want.Extras, want.Sinks = []byte(`{"isLatest":true,"progress":50}`), []string{"webhook"}
	if got, err := FromEvent(want).Event(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with extras it came back as %+v, %v", got, err)
	}
	if !bytes.Equal(FromEvent(&event.Event{}).Payload, []byte{}) || FromEvent(&event.Event{}).Payload == nil {
		t.Error("an event without data must be stored as empty, not as NULL")
	}
}
