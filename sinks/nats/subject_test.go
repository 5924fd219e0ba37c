package nats

import (
	"strings"
	"testing"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

func TestSubjectsAreEvolutionsUnlessANameBreaksThem(t *testing.T) {
	for _, c := range []struct{ instance, name, want string }{
		{"sales", "messages.upsert", "sales.messages.upsert"},
		{"sales", "group-participants.update", "sales.group-participants.update"},
		{"sales", "SendMessage", "sales.sendmessage"},
		{"loja_1-ção", "call", "loja_1-ção.call"},
		{"100%", "call", "100%.call"},
		{"Loja 1", "call", "Loja%201.call"},
		{"shop.eu", "call", "shop%2Eeu.call"},
		{"a*b>c", "call", "a%2Ab%3Ec.call"},
		{"50%2Eoff", "call", "50%252Eoff.call"},
		{"$JS", "call", "%24JS.call"},
		{"_INBOX", "call", "%5FINBOX.call"},
		{"sales", "a..b", "sales.custom.a%2E%2Eb"},
		{"sales", "a.*", "sales.custom.a%2E%2A"},
		{"sales", "message", "sales.custom.%6Dessage"}, // Message is Evolution Go's
	} {
		subjects := newSubjects(&Config{CustomSubjects: []string{"a..b", "a.*", "message"}})
		got := subjects.of(&event.Event{Instance: c.instance, Name: c.name}, sink.Instance)
		if got != c.want {
			t.Errorf("%s of %s: %s, want %s", c.name, c.instance, got, c.want)
		}
	}
}

func TestDotsStayIfConfiguredUnlessATokenWouldBeEmpty(t *testing.T) {
	c := &Config{KeepDots: true}
	for name, want := range map[string]string{
		"shop.eu": "shop.eu", "shop..eu": "shop%2E%2Eeu", ".eu": "%2Eeu", "a b.c": "a%20b%2Ec", "a%20b.c": "a%2520b%2Ec",
		"_INBOX.x": "%5FINBOX%2Ex",
	} {
		if got := c.tokens(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestGlobalSubjectsHaveThePrefix(t *testing.T) {
	e := &event.Event{Instance: "sales", Name: "messages.upsert"}
	if got := newSubjects(&Config{}).of(e, sink.Global); got != "messages.upsert" {
		t.Errorf("without a prefix: %s", got)
	}
	if got := newSubjects(&Config{PrefixKey: "evo.prod"}).of(e, sink.Global); got != "evo.prod.messages.upsert" {
		t.Errorf("with one: %s", got)
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{
		"sales", "Loja 1", "a.b", "%", "%%20", "50%2E", "%2", "$SYS", "_INBOX", "_INBOX.a", "ção*", ">", "..", "%25",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		token, changed := escape(name, false), escape(name, true)
		if unescape(changed) != name || name != "" && changed == name {
			t.Errorf("%q, changed, became %q and came back as %q", name, changed, unescape(changed))
		}
		if unescape(token) != name {
			t.Errorf("%q became %q and came back as %q", name, token, unescape(token))
		}
		if name != "" && (!literal(token) || strings.Contains(token, ".")) {
			t.Errorf("%q became %q, which is not one token", name, token)
		}
	})
}
