package row

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
)

// FuzzDecodeEvent reads what a damaged file might hold: no panic, no allocation that the bytes do not justify, and what is
// taken is written back as it was.
func FuzzDecodeEvent(f *testing.F) {
	full := &event.Event{
		ID: "id", Name: "messages.upsert", Instance: "sales", Time: time.Date(2026, 5, 4, 3, 2, 1, 7e6, time.UTC), Sender: "s",
		ServerURL: "u", Origin: "o", APIKey: "k", Sinks: []string{"webhook", "nats"},
	}
	f.Add(encodeEvent(full).metadata)
	f.Add(encodeEvent(&event.Event{}).metadata)
	f.Add(encodeEvent(&event.Event{Name: "messages.set", Extras: []byte(`{"isLatest":true}`)}).metadata)
	f.Add([]byte{})
	f.Add([]byte{eventFormat})
	f.Add([]byte{2, 0})
	f.Add(append([]byte{eventFormat, 0, 0, 0, 0, 0, 0, 0}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := storedEvent{id: "id", metadata: b, payload: []byte("1")}.event()
		if err != nil {
			return
		}
		again, err := encodeEvent(e).event()
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Errorf("%x is read as %+v and comes back as %+v, %v", b, e, again, err)
		}
	})
}

func TestAnEventComesBackFromItsColumns(t *testing.T) {
	want := &event.Event{ID: "id", Name: "call", Instance: "sales", Time: time.UnixMilli(1).UTC(), Data: []byte(`{"a":1}`)}
	s := encodeEvent(want)
	if got, err := s.event(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("came back as %+v, %v", got, err)
	}
	if s.metadata[0] != 1 {
		t.Errorf("an event that an older program can read is stored in format %d", s.metadata[0])
	}
	want.Extras, want.Sinks = []byte(`{"isLatest":true,"progress":50}`), []string{"webhook"}
	if got, err := encodeEvent(want).event(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("with extras it came back as %+v, %v", got, err)
	}
	if !bytes.Equal(encodeEvent(&event.Event{}).payload, []byte{}) || encodeEvent(&event.Event{}).payload == nil {
		t.Error("an event without data must be stored as empty, not as NULL")
	}
}

func TestALaneListTellsLanesApart(t *testing.T) {
	lanes := []queue.LaneKey{
		{Sink: "a", Target: "bc", Instance: "d"}, {Sink: "ab", Target: "c", Instance: "d"}, {Sink: "a", Target: "b", Instance: "cd"},
		{Sink: "", Target: "abc", Instance: "d"}, {Sink: "a", Target: "bc"}, {},
	}
	var list laneList
	for i, l := range lanes {
		if _, ok := list.find(l); ok {
			t.Errorf("%v was found before it was added", l)
		}
		list = list.add(l, int64(i))
	}
	for i, l := range lanes {
		if seq, ok := list.find(l); !ok || seq != int64(i) {
			t.Errorf("%v has seq %d, %v", l, seq, ok)
		}
	}
}
