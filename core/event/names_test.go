package event_test

import (
	"strings"
	"testing"

	"github.com/evosink/evosink/core/event"
)

func TestEverySpellingMeansTheWireName(t *testing.T) {
	for spelling, wire := range map[string]string{
		"messages.upsert":           "messages.upsert",
		"MESSAGES_UPSERT":           "messages.upsert",
		"messages-upsert":           "messages.upsert",
		"GROUP_UPDATE":              "groups.update",
		"GROUPS_UPDATE":             "groups.update",
		"groups.update":             "groups.update",
		"group.update":              "groups.update",
		"group-participants-update": "group-participants.update",
		"GROUP_PARTICIPANTS_UPDATE": "group-participants.update",
		"TYPEBOT_CHANGE_STATUS":     "typebot.change-status",
		"new.jwt":                   "new.jwt",
		"NEW_JWT":                   "new.jwt",
		"NEW_JWT_TOKEN":             "new.jwt",
		"ERRORS":                    "error",
		"CALL":                      "call",
		"QRCode":                    "QRCode",
		"Message":                   "Message",
		"my.own-Event":              "my.own-Event",
		"":                          "",
	} {
		if got := event.Canonical(spelling); got != wire {
			t.Errorf("Canonical(%q) = %q, want %q", spelling, got, wire)
		}
	}
}

func TestDerivedNamesFollowEvolutionAPI(t *testing.T) {
	for _, c := range []struct{ wire, config, path string }{
		{"messages.upsert", "MESSAGES_UPSERT", "messages-upsert"},
		{"group-participants.update", "GROUP_PARTICIPANTS_UPDATE", "group-participants-update"},
		{"typebot.change-status", "TYPEBOT_CHANGE_STATUS", "typebot-change-status"},
		{"send.message.update", "SEND_MESSAGE_UPDATE", "send-message-update"},
	} {
		if got := event.ConfigName(c.wire); got != c.config {
			t.Errorf("ConfigName(%q) = %q, want %q", c.wire, got, c.config)
		}
		if got := event.PathSuffix(c.wire); got != c.path {
			t.Errorf("PathSuffix(%q) = %q, want %q", c.wire, got, c.path)
		}
	}
}

func TestEverySettableNameIsKnownAndThereAre31(t *testing.T) {
	names := event.Settable()
	if len(names) != 31 {
		t.Fatalf("%d names, Evolution API has 31", len(names))
	}
	for _, name := range names {
		if wire := event.Canonical(name); wire == name || !event.Known(name) {
			t.Errorf("%s has no wire name", name)
		}
	}
}

func TestFilterTakesEverySpelling(t *testing.T) {
	f := event.NewFilter("MESSAGES_UPSERT", "groups-update", "CONNECTION", "my.own")
	for wire, want := range map[string]bool{
		"messages.upsert": true, "groups.update": true, "my.own": true, "Connected": true, "LoggedOut": true,
		"messages.update": false, "Message": false, "other": false,
	} {
		if f.Has(wire) != want {
			t.Errorf("Has(%q) = %v", wire, !want)
		}
	}
}

func TestFilterOfNothingOrEverythingPassesAll(t *testing.T) {
	for name, f := range map[string]event.Filter{
		"the zero value": {}, "no names": event.NewFilter(), "ALL": event.NewFilter("ALL"),
		"the full list of Evolution API": event.NewFilter(event.Settable()...),
	} {
		if !f.All() || !f.Has("anything.at-all") {
			t.Errorf("%s does not pass everything", name)
		}
	}
}

func TestSubscriptionsCatchTypingErrorsOnly(t *testing.T) {
	for name, ok := range map[string]bool{
		"MESSAGES_UPSERT": true, "GROUP_UPDATE": true, "GROUPS_UPDATE": true, "messages.upsert": true, "ALL": true,
		"READ_RECEIPT": true, "QRCode": true, "my.own": true,
		"MESSAGE_UPSERT": false, "": false, "two words": false,
	} {
		if event.CheckSubscription(name) != ok {
			t.Errorf("CheckSubscription(%q) = %v", name, !ok)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{"messages.upsert", "GROUP_UPDATE", "new.jwt", "QRCode", "", "İ", "a-b_c.d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		wire := event.Canonical(name)
		if again := event.Canonical(wire); again != wire {
			t.Fatalf("%q became %q, then %q", name, wire, again)
		}
		if event.Known(name) && !event.NewFilter(name).Has(wire) {
			t.Fatalf("a filter of %q does not pass %q", name, wire)
		}
		if s := event.PathSuffix(wire); strings.ContainsAny(s, "._") {
			t.Fatalf("path suffix %q", s)
		}
	})
}
