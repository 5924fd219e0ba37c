package sink_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// namings are one with dots, as for Kafka, and one with underscores, as for SQS.
func namings(own bool) map[string]*sink.Naming {
	make := func(separator, legal, token string, spell func(string) string) *sink.Naming {
		return &sink.Naming{
			Separator: separator, Shared: "global", InUse: true, Spell: spell, Own: own, Each: 1000, Total: 10000,
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
	for _, own := range []bool{false, true} {
		for kind, n := range namings(own) {
			holder := map[string]string{}
			for _, part := range n.Parts() {
				holder[n.Global(part)] = "the global ones"
			}
			for i, instance := range names {
				for j, wire := range events {
					if j >= len(event.Names()) && (i+j)%9 != 0 {
						continue // a sample of the custom ones
					}
					name := n.Name(instance, n.Part(instance, wire))
					if other, taken := holder[name]; taken && other != instance {
						t.Fatalf("%s, own %v: %q has %s, and so has %q with %q", kind, own, other, name, instance, wire)
					}
					holder[name] = instance
				}
			}
		}
	}
}

func TestNamesAreEvolutionsWhereNobodyElseHasThem(t *testing.T) {
	n := namings(false)["dots"]
	for _, instance := range []string{"sales", "shop.eu", "loja.custom", "a.b.c", "messages"} {
		for _, wire := range event.Names() {
			want := instance + "." + strings.ToLower(wire)
			if got := n.Name(instance, n.Part(instance, wire)); got != want {
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
		if got := n.Name(c.instance, n.Part(c.instance, c.wire)); got != c.want {
			t.Errorf("%s of %s is %s, want %s", c.wire, c.instance, got, c.want)
		}
	}
}

func TestCustomNamesAreBoundedByInstanceAndInAll(t *testing.T) {
	n := namings(true)["dots"]
	n.Each, n.Total = 3, 7
	parts := map[string]bool{}
	for _, instance := range []string{"a", "b", "c", "d"} {
		own := 0
		for i := range 10 {
			part := n.Part(instance, fmt.Sprint("own.", i))
			if part != sink.Custom {
				own++
				parts[n.Name(instance, part)] = true
			}
		}
		if own > 3 {
			t.Errorf("%s has %d", instance, own)
		}
	}
	if len(parts) != 7 || n.Part("a", "own.0") != "custom.own_x2E0" || n.Part("a", "own.9") != sink.Custom {
		t.Errorf("%d in all: %v", len(parts), parts)
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
