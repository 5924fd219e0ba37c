package sink_test

import (
	"fmt"
	"testing"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

func TestNoTwoDeliveriesHaveOneKey(t *testing.T) {
	seen := map[string]string{}
	for _, id := range []string{"a", "a/b", "a/b/global", "a/@shop", "a//"} {
		for _, record := range []string{"", "b", "global"} {
			for _, instance := range []string{"shop", "shop 2", "b", "@b"} {
				if record != "" && instance != "shop" {
					continue // the record's id tells which instance it is
				}
				e := &event.Event{ID: id, InstanceID: record, Instance: instance}
				if got := sink.EventID(sink.Identity(e)); got != id {
					t.Errorf("the id of %+v comes back as %q", e, got)
				}
				for _, target := range []sink.Target{"global", "instance", "b"} {
					what := fmt.Sprintf("%q, %q, %q, %q", id, record, instance, target)
					key := sink.Key(e, target)
					if other, taken := seen[key]; taken {
						t.Errorf("%s and %s both have the key %q", what, other, key)
					}
					seen[key] = what
				}
			}
		}
	}
}
