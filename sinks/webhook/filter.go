package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/evosink/evosink/core/event"
)

// filters let a webhook leave out events by what they are about. An event that is about no chat (connection.update) passes
// all of them. An event whose data is a list passes when one of its elements does; it is never cut.
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
	for _, id := range slices.Concat(f.Chats.Allow, f.Chats.Deny) {
		if id == "" || len(id) > 128 || strings.ContainsAny(id, " \t\r\n") || strings.Count(id, "@") > 1 || id == "@" {
			return fmt.Errorf(`filters.chats: %.60q is no chat: want "5511988887777@s.whatsapp.net", "5511988887777" or "@g.us"`, id)
		}
	}
	return nil
}

// pass reports whether an event about these subjects passes.
func (f *filters) pass(about []subject) bool {
	if f == nil || len(about) == 0 {
		return true
	}
	return slices.ContainsFunc(about, f.permits)
}

func (f *filters) permits(s subject) bool {
	if s.fromMe != nil && !f.FromMe.permits(*s.fromMe) {
		return false
	}
	if len(s.chat) == 0 {
		return true
	}
	if !f.Group.permits(s.isGroup()) || !f.StatusBroadcast.permits(slices.Contains(s.chat, "status@broadcast")) {
		return false
	}
	return !s.among(f.Chats.Deny) && (len(f.Chats.Allow) == 0 || s.among(f.Chats.Allow))
}

// A subject is what an event, or one element of it, is about.
type subject struct {
	chat   []string // its JIDs: a chat may have two, by phone number and by lid; empty means no chat
	fromMe *bool    // nil when the event does not say
}

func (s subject) isGroup() bool {
	return slices.ContainsFunc(s.chat, func(jid string) bool { return strings.HasSuffix(jid, "@g.us") })
}

func (s subject) among(ids []string) bool {
	return slices.ContainsFunc(s.chat, func(jid string) bool {
		user, server, _ := strings.Cut(jid, "@")
		user, _, _ = strings.Cut(user, ":") // without the device
		return slices.ContainsFunc(ids, func(id string) bool {
			return id == jid || id == user || id == "@"+server || id == user+"@"+server
		})
	})
}

// subjects reads what an event is about, in every shape of evolution.md 1.3 and 6.2.
func subjects(e *event.Event) []subject {
	data := bytes.TrimSpace(e.Data)
	if len(data) == 0 || data[0] != '[' {
		return one(data)
	}
	var elements []json.RawMessage
	_ = json.Unmarshal(data, &elements) // Data is valid JSON, and what is not has no subject
	var out []subject
	for _, element := range elements {
		out = append(out, one(element)...)
	}
	return out
}

// one reads an object, or the JID alone that stands in lists of chats.delete.
func one(data []byte) []subject {
	var jid string
	if json.Unmarshal(data, &jid) == nil {
		return about(nil, jid)
	}
	var d struct {
		Key struct {
			RemoteJid, RemoteJidAlt string
			FromMe                  *bool
		}
		Info struct { // Evolution Go's messages
			Chat     string
			IsFromMe *bool
		}
		RemoteJid, ChatID, Chat, JID, ID string
		FromMe, IsFromMe                 *bool
	}
	_ = json.Unmarshal(data, &d) // a key of another type than these have is none of them; the others are read all the same
	fromMe := d.Key.FromMe
	for _, other := range []*bool{d.FromMe, d.Info.IsFromMe, d.IsFromMe} {
		if fromMe == nil {
			fromMe = other
		}
	}
	for _, candidates := range [][]string{{d.Key.RemoteJid, d.Key.RemoteJidAlt}, {d.RemoteJid}, {d.ChatID}, {d.Info.Chat}, {d.Chat}, {d.JID}, {d.ID}} {
		if s := about(fromMe, candidates...); len(s[0].chat) > 0 {
			return s
		}
	}
	return about(fromMe)
}

func about(fromMe *bool, jids ...string) []subject {
	s := subject{fromMe: fromMe}
	for _, jid := range jids {
		if strings.Contains(jid, "@") {
			s.chat = append(s.chat, jid)
		}
	}
	return []subject{s}
}
