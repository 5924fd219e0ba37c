package queue

import (
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// A LaneKey names a lane, the ordered line of deliveries of one sink to one target for one instance. It is the key of
// everything here.
type LaneKey struct {
	Sink     string      `json:"sink"`
	Target   sink.Target `json:"target"`
	Instance string      `json:"instance"`
	// InstanceID is the id of the instance's record when its events were accepted, see [event.Event]: a later
	// instance of that name has lanes of its own. "" for what was stored before there were any.
	InstanceID string `json:"instanceId,omitempty"`
}

// A Selector stands for the lanes with fields equal to its own; an empty field matches all.
type Selector struct {
	Sink     string      `json:"sink,omitempty"`
	Target   sink.Target `json:"target,omitempty"`
	Instance string      `json:"instance,omitempty"`
}

// Has reports whether s stands for l.
func (s Selector) Has(l LaneKey) bool {
	return (s.Sink == "" || s.Sink == l.Sink) && (s.Target == "" || s.Target == l.Target) &&
		(s.Instance == "" || s.Instance == l.Instance)
}

// A Destination is one lane that an event is put into.
type Destination struct {
	Lane      LaneKey
	Scope     sink.Scope
	Droppable bool   // may be dropped to make room
	Refused   Reason // not "": it becomes a dead letter at once, for that reason
}

// A Delivery is a delivery that waits in a lane.
type Delivery struct {
	Seq   int64 // its place: deliveries of a lane are delivered in the order of Seq
	Scope sink.Scope
	At    time.Time // when it was put
	Event *event.Event
}

// Size returns what a delivery of an event counts in every limit in bytes: no less than it takes on the disk, where a
// page holds so many of its size and no part of another, or in memory. An event that waits in several lanes is stored
// once and counts in each.
func Size(e *event.Event) int64 {
	const (
		overhead = 384 // of rows, indexes and what memory holds of a delivery
		page     = 4096
	)
	n := overhead + 2*(len(e.ID)+len(e.Instance)) + len(e.Name) + len(e.Sender) + len(e.ServerURL) + len(e.Origin) +
		len(e.APIKey) + len(e.Data) + len(e.Extras)
	for _, name := range e.Sinks {
		n += len(name) + 8
	}
	if n < page {
		return int64(page / (page / n))
	}
	return int64((n + page - 1) / page * page)
}

// Progress is how far the attempts of a delivery have got.
type Progress struct {
	Attempts int       `json:"attempts"`        // that count; an unavailable target uses up none
	First    time.Time `json:"first"`           // when it was tried first; zero if it never was
	Last     time.Time `json:"last"`            // when it was tried last
	Next     time.Time `json:"next"`            // not before then again; zero for dead letters
	Error    string    `json:"error,omitempty"` // of the last attempt
}

// A Reason says why a delivery is a dead letter.
type Reason string

// The reasons.
const (
	Permanent Reason = "permanent"        // the sink said that no further attempt can help
	Attempts  Reason = "attempts"         // the policy's attempts were used up
	TooOld    Reason = "age"              // the policy's maximum age was passed
	Full      Reason = "full"             // its lane, or the queue, had no room
	Gone      Reason = "instance deleted" // the instance was deleted while the delivery waited for a target of its own
)
