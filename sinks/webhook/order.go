package webhook

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// Order says which events of an instance wait for each other on their way to a webhook. All others may overtake.
type Order string

// The orders. Relaxing it spreads a webhook over several lanes, so that one slow answer, or one event that is
// tried again for minutes, holds up a part of the others only.
const (
	ByInstance Order = "instance" // all of an instance; the default
	ByChat     Order = "chat"     // those of one chat, and those of no chat
	Unordered  Order = "none"     // none
)

// spread is the number of lanes of a webhook whose order is relaxed. Each is a target of its own to
// the queue, at the same address.
const spread = 16

// lane returns the target of an event: the webhook's name, and the number of the lane if it has several.
func (o Order) lane(name string, e *event.Event, a about) sink.Target {
	key := e.ID
	switch o {
	case ByChat:
		if len(a.subjects) == 0 || a.subjects[0].chat == "" {
			return sink.Target(name)
		}
		key = a.subjects[0].chat
	case Unordered:
	default:
		return sink.Target(name)
	}
	h := fnv.New32a()
	h.Write([]byte(key))
	return sink.Target(fmt.Sprintf("%s~%02d", name, h.Sum32()%spread))
}

// webhookOf returns the name of the webhook that a target leads to.
func webhookOf(t sink.Target) string {
	name, _, _ := strings.Cut(string(t), "~")
	return name
}
