package sink_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// namings are one with dots, as for Kafka, and one with underscores, as for SQS.
func namings(own ...string) map[string]*sink.Naming {
	make := func(separator, legal, token string, spell func(string) string) *sink.Naming {
		return &sink.Naming{
			Separator: separator, Shared: "global", InUse: true, Spell: spell, Own: own,
			Escape:   func(s string) string { return sink.Escape(s, legal) },
			Disguise: func(s string) string { return sink.EscapeFirst(s, token) },
			Token: func(s string, changed bool) string {
				if changed {
					return sink.EscapeFirst(s, token)
				}
				return sink.Escape(s, token)
			},
		}
	}
	return map[string]*sink.Naming{
		"dots":        make(".", "._-", "_-", strings.ToLower),
		"underscores": make("_", "_-", "-", func(s string) string { return strings.ToLower(event.ConfigName(s)) }),
	}
}

// Hostile names of instances and events are put together from what names are made of.
func TestNoTwoInstancesHaveOneName(t *testing.T) {
	words := []string{
		"shop", "send", "Message", "message", "custom", "global", "eu", "x2E", "_x73hop", "send.message", "send_message",
		"messages.upsert", "custom_message", "x6Dessage",
	}
	var names []string
	for _, a := range words {
		names = append(names, a)
		for _, b := range words {
			for _, sep := range []string{".", "_", ""} {
				names = append(names, a+sep+b)
			}
		}
	}
	events := append(event.Names(), names...)
	for _, own := range [][]string{nil, names} {
		for kind, n := range namings(own...) {
			holder := map[string]string{}
			for _, part := range n.Parts() {
				holder[n.Global(part)] = "the global ones"
			}
			for i, instance := range names {
				for j, wire := range events {
					if j >= len(event.Names()) && (i+j)%9 != 0 {
						continue // a sample of the custom ones
					}
					name := n.Name(instance, n.Part(wire))
					if other, taken := holder[name]; taken && other != instance {
						t.Fatalf("%s, %d own: %q has %s, and so has %q with %q", kind, len(own), other, name, instance, wire)
					}
					holder[name] = instance
				}
			}
		}
	}
}

func TestNamesAreEvolutionsWhereNobodyElseHasThem(t *testing.T) {
	n := namings()["dots"]
	for _, instance := range []string{"sales", "shop.eu", "loja.custom", "a.b.c", "messages"} {
		for _, wire := range event.Names() {
			want := instance + "." + strings.ToLower(wire)
			if got := n.Name(instance, n.Part(wire)); got != want {
				t.Errorf("%s of %s is %s", wire, instance, got)
			}
		}
	}
	for _, c := range []struct{ instance, wire, want string }{
		{"shop.send", "Message", "_x73hop_x2Esend.message"},
		{"shop.send", "call", "shop.send.call"},
		{"global", "call", "_x67lobal.call"},
		{"shop", "eu.messages.upsert", "shop.custom"},
	} {
		if got := n.Name(c.instance, n.Part(c.wire)); got != c.want {
			t.Errorf("%s of %s is %s, want %s", c.wire, c.instance, got, c.want)
		}
	}
}

func TestCustomNamesAreThoseThatAreListed(t *testing.T) {
	n := namings("own.1", "own.2", "message", "messages.upsert")["dots"]
	want := map[string]string{
		"own.1": "custom.own_x2E1", "own.2": "custom.own_x2E2", "message": "custom._x6Dessage",
		"messages.upsert": "messages.upsert",
	}
	for i := range 100 {
		want[fmt.Sprint("other.", i)] = sink.Custom
	}
	before := len(n.Parts())
	for wire, part := range want {
		if got := n.Part(wire); got != part {
			t.Errorf("%s is %s, want %s", wire, got, part)
		}
		if !slices.Contains(n.Parts(), part) {
			t.Errorf("%s is not among the parts", part)
		}
	}
	if after := len(n.Parts()); after != before {
		t.Errorf("the parts are %d, and were %d", after, before)
	}
}

func TestTheListOfCustomNamesIsChecked(t *testing.T) {
	if err := sink.ValidateCustom("custom_queues", []string{"order.paid", "own-1", "Order"}); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		"true", "false", "", "a b", "ALL", "MESSAGE_UPSERT", "messages.upsert", "MESSAGES_UPSERT",
	} {
		err := sink.ValidateCustom("custom_queues", []string{"order.paid", bad})
		if err == nil || !strings.Contains(err.Error(), "custom_queues") || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestToldForgetsRatherThanGrow(t *testing.T) {
	var told sink.Told
	if !told.First("a") || told.First("a") {
		t.Error("it is told twice, or not at all")
	}
	for i := range 10_000 {
		if name := fmt.Sprint(i); !told.First(name) || told.First(name) {
			t.Fatal(name)
		}
	}
}
