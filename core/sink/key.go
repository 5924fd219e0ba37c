package sink

import (
	"net/url"
	"strings"

	"github.com/evosink/evosink/core/event"
)

// Key returns the idempotency key of the delivery of e to t, "<event id>/<instance id>/<target>": it is the same in
// every attempt, and no other delivery has it. Producers choose ids of events, so two instances may use the same one;
// and a later instance of a name is not the one before it. Whatever drops what it has seen must go by this key, or by
// [Identity].
//
// Neither a target nor an instance's id holds a slash. Everything but the event's id is ASCII if the target is.
func Key(e *event.Event, t Target) string {
	if e.InstanceID != "" {
		return e.ID + "/" + e.InstanceID + "/" + string(t)
	}
	return Identity(e) + "/" + string(t)
}

// Identity returns what tells e from all other events, those of other instances included: "<event id>/<instance id>".
// An event without an instance's id has "@" and the instance's name, percent-encoded, in its place.
func Identity(e *event.Event) string {
	if e.InstanceID != "" {
		return e.ID + "/" + e.InstanceID
	}
	return e.ID + "/@" + url.PathEscape(e.Instance)
}

// EventID returns the event's id in an [Identity].
func EventID(identity string) string {
	return identity[:max(0, strings.LastIndexByte(identity, '/'))]
}
