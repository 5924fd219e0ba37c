package sqlite_test

import (
	"testing"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

func TestMeasuresTellOfCommitsAndOfTheLog(t *testing.T) {
	db := open(t, newConfig(t))
	for range 3 {
		e := &event.Event{ID: event.NewID(), Name: "call", Instance: "sales", Data: []byte(`{}`)}
		if err := db.Publisher().Publish(bus.Topic(0), bus.Message(e)); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]sink.Measure{}
	for _, m := range db.Measures() {
		got[m.Name] = m
	}
	h, last := got["commit_seconds"], uint64(0)
	for _, bound := range []float64{0.00025, 0.01, 2.5} {
		if n, ok := h.Buckets[bound]; !ok || n < last || n > h.Count {
			t.Errorf("bucket %v of %+v", bound, h)
		} else {
			last = n
		}
	}
	if h.Count < 3 || h.Value <= 0 || got["writes_total"].Value < 3 || got["log_events"].Value != 3 || got["log_bytes"].Value <= 0 || got["log_oldest_timestamp_seconds"].Value <= 0 {
		t.Errorf("Measures = %+v", got)
	}
}
