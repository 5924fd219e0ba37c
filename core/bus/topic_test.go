package bus_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
)

func TestTopicsOfAllShardsAreReadBack(t *testing.T) {
	for _, n := range []int{1, 16, 1024} {
		for shard := range n {
			if got, err := bus.ParseTopic(bus.Topic(shard), n); err != nil || got != shard {
				t.Fatalf("%s of %d shards: %d, %v", bus.Topic(shard), n, got, err)
			}
		}
	}
}

func TestOtherTopicsAreRefused(t *testing.T) {
	for _, topic := range []string{"", "events", "events.", "events.1", "events.001", "events.-1", "events.+1", "events.16", "Events.01", "other", "01"} {
		if shard, err := bus.ParseTopic(topic, 16); !errors.Is(err, bus.ErrTopic) {
			t.Errorf("%q: %d, %v, want ErrTopic", topic, shard, err)
		}
	}
}

func TestInstancesSpreadOverAllShards(t *testing.T) {
	used := map[int]int{}
	for i := range 1600 {
		used[bus.Shard(fmt.Sprint("instance-", i), 16)]++
	}
	for shard := range 16 {
		if n := used[shard]; n < 50 || n > 200 {
			t.Errorf("shard %d has %d of 1600 instances", shard, n)
		}
	}
}

func TestAMessageCarriesItsEvent(t *testing.T) {
	for _, e := range []*event.Event{
		{ID: "1", Name: "call", Instance: "a", Time: time.UnixMilli(1).UTC(), Data: []byte(`1`)},
		{
			ID: "2", Name: "messages.upsert", Instance: "ação", Time: time.Now().UTC(), Sender: "s", ServerURL: "u", Origin: "o",
			APIKey: "k", Sinks: []string{"webhook", "sqs"}, Data: []byte(`{"a":1}`),
		},
	} {
		m := bus.Message(e)
		got, err := bus.Event(m)
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", e) || bus.InstanceOf(m) != e.Instance {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, e)
		}
		if size := bus.Size(m); size < len(e.Data)+len(e.ID)+len(e.Instance) {
			t.Fatalf("its size is %d", size)
		}
	}
}

func TestAMessageWithoutAnEventIsUndecodable(t *testing.T) {
	whole := func() *message.Message {
		return bus.Message(&event.Event{ID: "1", Name: "call", Instance: "a", Time: time.UnixMilli(1)})
	}
	for name, spoil := range map[string]func(*message.Message){
		"no id":       func(m *message.Message) { m.UUID = "" },
		"no metadata": func(m *message.Message) { m.Metadata = nil },
		"no event":    func(m *message.Message) { delete(m.Metadata, "event") },
		"no instance": func(m *message.Message) { delete(m.Metadata, "instance") },
		"no time":     func(m *message.Message) { delete(m.Metadata, "time") },
		"bad time":    func(m *message.Message) { m.Metadata["time"] = "yesterday" },
	} {
		m := whole()
		spoil(m)
		if e, err := bus.Event(m); !errors.Is(err, bus.ErrUndecodable) {
			t.Errorf("%s: %+v, %v, want ErrUndecodable", name, e, err)
		}
	}
}
