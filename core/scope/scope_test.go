package scope_test

import (
	"fmt"
	"testing"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/scope"
	"github.com/evosink/evosink/core/sink"
)

func TestScopesAreAdditiveUnlessExclusive(t *testing.T) {
	for _, c := range []struct {
		name     string
		rule     sink.Rule
		settings string
		only     []string
		want     string
	}{
		{"nothing on", sink.Rule{}, ``, nil, "[]"},
		{"global", sink.Rule{Global: true}, ``, nil, "[global]"},
		{"global of another event", sink.Rule{Global: true, Events: event.NewFilter("CALL")}, ``, nil, "[]"},
		{"a filter without the switch", sink.Rule{Events: event.NewFilter("MESSAGES_UPSERT")}, ``, nil, "[]"},
		{"instance", sink.Rule{}, `{"enabled":true,"events":["MESSAGES_UPSERT"]}`, nil, "[instance]"},
		{"instance, other event", sink.Rule{}, `{"enabled":true,"events":["CALL"]}`, nil, "[]"},
		{"instance disabled", sink.Rule{}, `{"enabled":false,"events":["MESSAGES_UPSERT"]}`, nil, "[]"},
		{"both", sink.Rule{Global: true}, `{"enabled":true}`, nil, "[global instance]"},
		{"exclusive", sink.Rule{Global: true, Exclusive: true}, `{"enabled":true}`, nil, "[global]"},
		{"exclusive, global off", sink.Rule{Exclusive: true}, `{"enabled":true}`, nil, "[instance]"},
		{"for another sink only", sink.Rule{Global: true}, `{"enabled":true}`, []string{"nats"}, "[]"},
		{"for this sink only", sink.Rule{Global: true}, ``, []string{"nats", "websocket"}, "[global]"},
	} {
		settings, err := scope.Parse([]byte(c.settings))
		if err != nil {
			t.Fatal(err)
		}
		e := &event.Event{Name: "messages.upsert", Instance: "sales", Sinks: c.only}
		if got := fmt.Sprint(scope.Of(e, "websocket", c.rule, settings)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestUnreadableSettingsAreAnError(t *testing.T) {
	if _, err := scope.Parse([]byte(`{"enabled":"yes"}`)); err == nil {
		t.Error("no error")
	}
}
