package core_test

import (
	"fmt"
	"testing"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// When an event is delivered, the instance that it was accepted for may be gone, and its name may have a new owner.
// Global targets get it all the same, without the new owner's settings; targets of the new instance's own do not.
func TestAnEventOfAFormerInstanceReachesGlobalTargetsOnly(t *testing.T) {
	for _, rule := range []sink.Rule{{}, everything} {
		var live, queue recorder
		n := startNode(t, nil, use("live", &live, rule), queued("queue", &queue, rule))
		var ids []string
		for range 2 { // the second one inherits the name
			in, err := n.registry.Create(t.Context(), instances.Instance{Name: "sales"}, "")
			if err != nil {
				t.Fatal(err)
			}
			if ids = append(ids, in.ID); len(ids) == 1 {
				if err := n.registry.Delete(t.Context(), "sales"); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, name := range []string{"live", "queue"} {
			if _, err := n.registry.Set(t.Context(), "sales", name, []byte(`{"enabled":true}`)); err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]int{} // deliveries by event and scope
		for i, id := range []string{ids[0], ids[1], "", "never was", ids[1]} {
			e := &event.Event{ID: fmt.Sprint(i), Name: "messages.upsert", Instance: "sales", InstanceID: id, Data: []byte(`{}`)}
			err := n.bus.Publisher().Publish(bus.Topic(bus.Shard("sales", n.bus.Shards())), bus.Message(e))
			if err != nil {
				t.Fatal(err)
			}
			if rule.Global {
				want[e.ID+" global"]++
			}
			if id == ids[1] || id == "" {
				want[e.ID+" instance"]++
			}
		}
		for name, r := range map[string]*recorder{"live": &live, "queue": &queue} {
			got := map[string]int{}
			for len(got) < len(want) {
				d := arrival(t, r)
				got[d.Event.ID+" "+d.Scope.String()]++
				if foreign := d.Event.InstanceID != ids[1] && d.Event.InstanceID != ""; name == "live" && foreign && d.Settings != nil {
					t.Errorf("the former instance's event travels with the settings %s", d.Settings)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s, global %v: got %v, want %v", name, rule.Global, got, want)
			}
		}
	}
}
