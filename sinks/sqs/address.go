package sqs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// Limits of SQS, in bytes.
const (
	maxName = 80  // of a queue's name
	maxID   = 128 // of a message group's or deduplication id
)

// addresses tells where events go.
type addresses struct {
	config *Config
	naming *sink.Naming
}

func newAddresses(c *Config) *addresses {
	return &addresses{config: c, naming: &sink.Naming{
		Separator: "_", Shared: c.PrefixName, // while global ones are in use, instances have none
		Spell: suffix, Escape: escape,
		Disguise: func(name string) string { return sink.EscapeFirst(name, "-") },
		Token: func(name string, changed bool) string {
			if changed {
				return sink.EscapeFirst(name, "-")
			}
			return sink.Escape(name, "-")
		},
		Own: c.CustomQueues,
	}}
}

// A queue is one that events go to.
type queue struct {
	name   string
	fifo   bool
	global bool
}

// queueOf returns the queue of an event by the name that Evolution API creates it with. Where it sends to another name
// (group-participants.update, typebot.change-status, send.message.update), that one does not exist.
func (a *addresses) queueOf(instance, name string, scope sink.Scope) (queue, error) {
	q := queue{fifo: a.config.FIFO, global: scope == sink.Global}
	part := a.part(name, scope)
	if q.global {
		q.name = a.naming.Global(part)
	} else {
		q.name = a.naming.Name(instance, part)
	}
	if q.fifo {
		q.name += ".fifo"
	}
	if len(q.name) > maxName {
		return q, sink.Permanent(fmt.Errorf("the name of the queue, %s, has %d bytes, SQS allows %d",
			q.name, len(q.name), maxName))
	}
	return q, nil
}

// part returns the event's part of names.
func (a *addresses) part(name string, scope sink.Scope) string {
	if scope == sink.Global && a.config.ForceSingleQueue {
		return "singlequeue"
	}
	return a.naming.Part(name)
}

func suffix(wire string) string { return strings.ToLower(event.ConfigName(wire)) }

// escape makes what the names of queues can hold of a name.
func escape(name string) string { return sink.Escape(name, "_-") }

// groupOf returns the message group: the queue keeps the order in it. An instance's own queue has one.
func (a *addresses) groupOf(e *event.Event, scope sink.Scope) string {
	if scope == sink.Instance {
		return "evolution"
	}
	return id(a.config.ServerName + "-" + a.part(e.Name, scope) + "-" + e.Instance)
}

// id returns s as an id of SQS: s itself if it is one, else a digest of it.
func id(s string) string {
	ok := s != "" && len(s) <= maxID
	for i := range len(s) {
		ok = ok && s[i] > ' ' && s[i] < 0x7f
	}
	if ok {
		return s
	}
	return digest(s)
}

// digest returns the SHA-256 of s, in hexadecimal digits.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
