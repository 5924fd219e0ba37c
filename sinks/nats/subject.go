package nats

import (
	"fmt"
	"strings"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// subjectOf returns where an event goes, as Evolution API forms it at emit time (evolution.md 1.1, 3.4), names made safe.
func (c *Config) subjectOf(e *event.Event, scope sink.Scope) string {
	name := strings.ToLower(e.Name)
	if !literal(name) {
		name = escape(name)
	}
	if scope == sink.Global {
		return c.global(name)
	}
	return c.tokens(e.Instance) + "." + name
}

func (c *Config) global(name string) string {
	if c.PrefixKey == "" {
		return name
	}
	return c.PrefixKey + "." + name
}

// tokens returns an instance's part of its subjects: one token, or with KeepDots what its dots make of it.
func (c *Config) tokens(instance string) string {
	if c.KeepDots && literal(instance) {
		return instance
	}
	return escape(instance)
}

// pattern returns the subjects that a stream has to take in for an event: all of its instance, all global ones with the prefix, or
// its own.
func (c *Config) pattern(e *event.Event, scope sink.Scope) string {
	switch {
	case scope == sink.Instance:
		return c.tokens(e.Instance) + ".>"
	case c.PrefixKey != "":
		return c.PrefixKey + ".>"
	}
	return c.subjectOf(e, scope)
}

// literal reports whether s can be part of a subject as it is: tokens that are not empty, and nothing in them that the server
// reads as something else.
func literal(s string) bool {
	empty := s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..")
	return !empty && !strings.ContainsFunc(s, breaks) && !taken(s)
}

// breaks reports whether a character ends a subject on the wire or is a wildcard in it.
func breaks(r rune) bool { return r <= ' ' || r == 0x7f || r == '*' || r == '>' }

// taken reports whether subjects that begin so are the server's own, or its clients' answers.
func taken(s string) bool {
	return strings.HasPrefix(s, "$") || s == inbox || strings.HasPrefix(s, inbox+".")
}

const inbox = "_INBOX"

// escape makes one token of a name: the bytes of what would break it, and its dots, become %XX as in a URL. A % that reads like the
// beginning of one does too, so unescape gives the name back. Other names stay as they are.
func escape(name string) string {
	if !strings.ContainsAny(name, ".%") && literal(name) {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		first := i == 0 && taken(name)
		if first || c == '.' || breaks(rune(c)) || c == '%' && hex(name, i+1) && hex(name, i+2) {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// unescape is the inverse of escape.
func unescape(token string) string {
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if token[i] == '%' && hex(token, i+1) && hex(token, i+2) {
			b.WriteByte(value(token[i+1])<<4 | value(token[i+2]))
			i += 2
			continue
		}
		b.WriteByte(token[i])
	}
	return b.String()
}

func hex(s string, i int) bool {
	return i < len(s) && strings.IndexByte("0123456789ABCDEFabcdef", s[i]) >= 0
}

func value(digit byte) byte {
	if digit <= '9' {
		return digit - '0'
	}
	return digit&^0x20 - 'A' + 10
}
