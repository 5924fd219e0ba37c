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

// A queue is one that events go to.
type queue struct {
	name   string
	fifo   bool
	global bool
}

// queueOf returns the queue of an event by the name that Evolution API creates it with (evolution.md 1.1, 3.5). Where it
// sends to another name (group-participants.update, typebot.change-status, send.message.update), that one does not exist.
func (c *Config) queueOf(instance, name string, scope sink.Scope) (queue, error) {
	q := queue{name: escape(instance), fifo: c.FIFO}
	if scope == sink.Global {
		q.name, q.global = c.PrefixName, true
	}
	q.name += "_" + c.suffix(name, scope)
	if q.fifo {
		q.name += ".fifo"
	}
	if len(q.name) > maxName {
		return q, sink.Permanent(fmt.Errorf("the name of the queue, %s, has %d bytes, SQS allows %d", q.name, len(q.name), maxName))
	}
	return q, nil
}

func (c *Config) suffix(name string, scope sink.Scope) string {
	if scope == sink.Global && c.ForceSingleQueue {
		return "singlequeue"
	}
	return escape(strings.ToLower(event.ConfigName(name)))
}

// escape makes what the names of queues can hold of a name.
func escape(name string) string { return sink.Escape(name, "_-") }

// groupOf returns the message group: the queue keeps the order in it. An instance's own queue has one.
func (c *Config) groupOf(e *event.Event, scope sink.Scope) string {
	if scope == sink.Instance {
		return "evolution"
	}
	return id(c.ServerName + "-" + c.suffix(e.Name, scope) + "-" + e.Instance)
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
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
