package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits of what filters look at and hold.
const (
	maxLooked   = 256 << 10 // bytes of an event's data
	maxSubjects = 500       // elements of a list
	maxChats    = 1000      // entries of allow, and of deny
	maxAllChats = 10_000    // entries of all the lists of an instance
)

// filters let a webhook leave out events by what they are about. An event that is about no chat (connection.update)
// passes all of them. An event whose data is a list passes when one of its elements does; it is never cut.
//
// Filters are asked while the events of many instances wait, so what they may cost is bounded: they look at the first
// 256 KiB of an event's data, and at the first 500 elements of a list. A list that goes on behind that passes. An
// event that names its chat only behind that is about no chat.
type filters struct {
	FromMe          choice `json:"fromMe,omitzero"`          // sent by the instance itself
	Group           choice `json:"group,omitzero"`           // in a group
	StatusBroadcast choice `json:"statusBroadcast,omitzero"` // in status@broadcast
	Chats           chats  `json:"chats,omitzero"`
}

// chats are lists of "5511988887777@s.whatsapp.net", "5511988887777" (on any server) or "@g.us" (all of a server).
type chats struct {
	Allow []string `json:"allow,omitempty"` // only these; empty means all
	Deny  []string `json:"deny,omitempty"`  // never these; goes before Allow
}

// choice says what a filter does with events of its kind. In JSON it is true, false or "only".
type choice uint8

const (
	with    choice = iota // let pass; the default
	without               // leave out
	only                  // leave out all others
)

var choices = map[string]choice{"true": with, "false": without, `"only"`: only}

// UnmarshalJSON reads true, false or "only"; null is true.
func (c *choice) UnmarshalJSON(b []byte) error {
	v, ok := choices[string(b)]
	if !ok && string(b) != "null" {
		return errors.New(`filters must be true, false or "only"`)
	}
	*c = v
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (c choice) MarshalJSON() ([]byte, error) {
	return []byte([]string{"true", "false", `"only"`}[c]), nil
}

func (c choice) permits(is bool) bool { return c == with || is == (c == only) }

func (f *filters) check() error {
	for _, list := range [][]string{f.Chats.Allow, f.Chats.Deny} {
		if len(list) > maxChats {
			return fmt.Errorf("filters.chats has a list of %d entries, at most %d are allowed", len(list), maxChats)
		}
		for _, id := range list {
			if id == "" || len(id) > 128 || strings.ContainsAny(id, " \t\r\n") || strings.Count(id, "@") > 1 || id == "@" {
				return fmt.Errorf(`filters.chats: %.60q is no chat: want "5511988887777@s.whatsapp.net", "5511988887777" or "@g.us"`, id)
			}
		}
	}
	return nil
}

// size is how many chats f names.
func (f *filters) size() int {
	if f == nil {
		return 0
	}
	return len(f.Chats.Allow) + len(f.Chats.Deny)
}

// A filter is filters ready to be asked: what asking costs does not depend on the length of their lists. It is
// immutable; nil lets everything pass.
type filter struct {
	fromMe, group, status choice
	allow, deny           map[string]struct{} // allow: nil means all
}

// compile makes f ready. nil gives nil.
func (f *filters) compile() *filter {
	if f == nil {
		return nil
	}
	set := func(ids []string) map[string]struct{} {
		if len(ids) == 0 {
			return nil
		}
		out := make(map[string]struct{}, len(ids))
		for _, id := range ids {
			out[id] = struct{}{}
		}
		return out
	}
	return &filter{fromMe: f.FromMe, group: f.Group, status: f.StatusBroadcast, allow: set(f.Chats.Allow), deny: set(f.Chats.Deny)}
}

// pass reports whether an event passes.
func (f *filter) pass(a about) bool {
	return f == nil || len(a.subjects) == 0 || slices.ContainsFunc(a.subjects, f.permits) || a.more
}

func (f *filter) permits(s subject) bool {
	if s.fromMe != nil && !f.fromMe.permits(*s.fromMe) {
		return false
	}
	if s.chat == "" {
		return true
	}
	if !f.group.permits(s.group) || !f.status.permits(s.status) {
		return false
	}
	return !s.in(f.deny) && (f.allow == nil || s.in(f.allow))
}

// about is what an event is about.
type about struct {
	subjects []subject
	more     bool // there is more that was not looked at
}

// A subject is what an event, or one element of it, is about.
type subject struct {
	chat          string   // its first JID; "" means no chat
	names         []string // what lists may call it: a chat may have two JIDs, by phone number and by lid
	group, status bool
	fromMe        *bool // nil when the event does not say
}

func (s subject) in(set map[string]struct{}) bool {
	return slices.ContainsFunc(s.names, func(name string) bool { _, is := set[name]; return is })
}

// add makes s about a JID too. What is none is left out.
func (s *subject) add(jid string) {
	at := strings.IndexByte(jid, '@')
	if at < 0 {
		return
	}
	if s.chat == "" {
		s.chat = jid
	}
	s.names = append(s.names, jid, jid[:at], jid[at:])
	if user, _, device := strings.Cut(jid[:at], ":"); device {
		s.names = append(s.names, user, user+jid[at:])
	}
	s.group = s.group || strings.HasSuffix(jid, "@g.us")
	s.status = s.status || jid == "status@broadcast"
}

// look reads what an event is about from its data, in every shape that Evolution API and Evolution Go give it.
func look(data []byte) about {
	data = bytes.TrimSpace(data)
	out := about{more: len(data) > maxLooked}
	if out.more {
		data = data[:maxLooked]
	}
	if len(data) == 0 || data[0] != '[' {
		return about{subjects: []subject{subjectOf(data)}}
	}
	for element := range elements(data) {
		if len(out.subjects) == maxSubjects {
			out.more = true
			break
		}
		out.subjects = append(out.subjects, subjectOf(element))
	}
	return out
}

// chatPlaces are where events name their chat, by lower-case keys: the first of which any is a JID counts.
var chatPlaces = [][]string{
	{"key.remotejid", "key.remotejidalt"}, {"remotejid"}, {"chatid"},
	{"info.chat"}, // Evolution Go's messages
	{"chat"}, {"jid"}, {"id"},
}

// ownPlaces are where events say whether the instance itself is their author. The first that does counts.
var ownPlaces = []string{"key.fromme", "fromme", "info.isfromme", "isfromme"}

var lookedFor = func() map[string]bool {
	out := map[string]bool{}
	for _, place := range slices.Concat(append(chatPlaces, ownPlaces)...) {
		out[place] = true
	}
	return out
}()

// subjectOf reads an object, or the JID alone that stands in lists of chats.delete.
func subjectOf(data []byte) (s subject) {
	if len(data) > 0 && data[0] == '"' {
		s.add(unquoted(data))
		return s
	}
	found := map[string][]byte{}
	for m := range members(data) {
		switch key := m.name(); key {
		case "key", "info":
			for inner := range members(m.value(data)) {
				if place := key + "." + inner.name(); lookedFor[place] {
					found[place] = inner.value(m.value(data))
				}
			}
		default:
			if lookedFor[key] {
				found[key] = m.value(data)
			}
		}
	}
	for _, place := range ownPlaces {
		if own := string(found[place]); s.fromMe == nil && (own == "true" || own == "false") {
			s.fromMe = new(own == "true")
		}
	}
	for _, places := range chatPlaces {
		for _, place := range places {
			s.add(unquoted(found[place]))
		}
		if s.chat != "" {
			break
		}
	}
	return s
}

// name is the member's key in lower case, "" if it is too long to be looked for.
func (m member) name() string {
	const longest = 64 // with escapes
	if len(m.key) > longest {
		return ""
	}
	key := string(m.key)
	if strings.Contains(key, `\`) {
		key = unquoted([]byte(`"` + key + `"`))
	}
	return strings.ToLower(key)
}

// unquoted decodes a JSON string; what is none gives "".
func unquoted(value []byte) (s string) {
	if len(value) > 0 && value[0] == '"' {
		_ = json.Unmarshal(value, &s)
	}
	return s
}
