package deliveries

import (
	"testing"

	"github.com/evosink/evosink/core/queue"
)

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
