package nats

import (
	"fmt"
	"strings"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// A subjects tells where events go.
type subjects struct {
	config *Config
	naming *sink.Naming
}

func newSubjects(c *Config) *subjects {
	return &subjects{c, &sink.Naming{
		Separator: ".", Shared: c.PrefixKey, InUse: c.rule().Global, Spell: strings.ToLower, Escape: c.tokens,
		Disguise: func(name string) string { return escape(name, true) }, Token: escape,
		Own: c.CustomSubjects,
	}}
}

// of returns where an event goes, as Evolution API forms it at emit time, names made safe.
func (s *subjects) of(e *event.Event, scope sink.Scope) string {
	part := s.naming.Part(e.Name)
	if scope == sink.Global {
		return s.naming.Global(part)
	}
	return s.naming.Name(e.Instance, part)
}

// pattern returns the subjects that a stream has to take in for an event: all of its instance, all global ones with the
// prefix, or its own.
func (s *subjects) pattern(e *event.Event, scope sink.Scope) string {
	part := s.naming.Part(e.Name)
	switch {
	case scope == sink.Instance:
		return s.naming.Owner(e.Instance, part) + ".>"
	case s.config.PrefixKey != "":
		return s.config.PrefixKey + ".>"
	}
	return part
}

// tokens returns an instance's part of its subjects: one token, or with KeepDots what its dots make of it.
func (c *Config) tokens(instance string) string {
	if c.KeepDots && literal(instance) && !escaped(instance) {
		return instance
	}
	return escape(instance, false)
}

// literal reports whether s can be part of a subject as it is: tokens that are not empty, and nothing in them that the
// server reads as something else.
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

// escape makes one token of a name: the bytes of what would break it, and its dots, become %XX as in a URL. A % that
// reads like the beginning of one does too, so unescape gives the name back. Other names stay as they are, unless
// changed wants the first byte escaped.
func escape(name string, changed bool) string {
	if !changed && !strings.ContainsAny(name, ".%") && literal(name) {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		first := i == 0 && (changed || taken(name))
		if first || c == '.' || breaks(rune(c)) || c == '%' && hex(name, i+1) && hex(name, i+2) {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// escaped reports whether something in a name reads like an escape.
func escaped(name string) bool { return unescape(name) != name }

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
