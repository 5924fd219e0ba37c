package sink_test

import (
	"strings"
	"testing"

	"github.com/evosink/evosink/core/sink"
)

func TestSwitchesMakeARuleOfWhatIsOn(t *testing.T) {
	on := sink.Switches{"GROUPS_UPDATE": true, "GROUP_UPDATE": false, "CALL": false}
	if r := on.Rule(true); !r.Global || !r.Events.Has("groups.update") || r.Events.Has("call") {
		t.Error("the rule is not what is switched on")
	}
	if on.Rule(false).Global {
		t.Error("a sink that is not global has a global rule")
	}
	if (sink.Switches{"CALL": false}).Rule(true).Global {
		t.Error("with nothing switched on everything is delivered")
	}
	if r := (sink.Switches{}).Rule(true, "MESSAGE"); !r.Global || !r.Events.Has("Message") || r.Events.Has("call") {
		t.Error("the names beside the switches are not in the rule")
	}
}

func TestSwitchesKnowTypingErrors(t *testing.T) {
	err := sink.Switches{"MESAGES_UPSERT": true, "NONSENSE": false, "GROUP_UPDATE": true}.Check("events")
	if err == nil || err.Error() != "events.MESAGES_UPSERT: there is no such event" {
		t.Errorf("got %v", err)
	}
}

func TestPlainSettingsAreNotShared(t *testing.T) {
	s := sink.PlainSettings()
	s.Schema[0] = 'x'
	if !strings.HasPrefix(string(sink.PlainSettings().Schema), "{") {
		t.Error("a change of one sink's schema shows in another's")
	}
}
