package sink

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
)

// A Spec describes a kind of sink; C is its configuration. Each sink package exports one
// as its variable Spec, and main names it: sink.Use(websocket.Spec).
type Spec[C any] struct {
	// Name addresses the sink everywhere: in configuration (sinks.<name>), routes
	// (/<name>/set/{instance}), logs and metrics. Lower-case letters and digits.
	Name string
	Mode Mode
	// Defaults returns the configuration before any layer is applied. C may have a
	// method Validate() error.
	Defaults func() C
	// Enabled reports whether the configuration switches the sink on.
	Enabled func(*C) bool
	// Rule returns the sink's global switches.
	Rule func(*C) Rule
	// Settings describes what an instance may set; nil means the sink has no settings per instance.
	Settings *Settings
	// Permit reports why settings in their stored form cannot work under this configuration: an address that the
	// operator keeps instances from, say. It is asked when they are set. Each line of its error is shown to the client;
	// nil permits everything.
	Permit func(c *C, stored json.RawMessage) error
	// New makes the sink. It starts nothing; see [Sink.Start].
	New func(C, Host) (Sink, error)
}

// A Rule holds a sink's global switches, which scope turns into targets.
type Rule struct {
	Global    bool         // deliver events of all instances to the sink's global target
	Events    event.Filter // which of them
	Exclusive bool         // global on means that instances' own settings are ignored (SQS)
}

// Settings describes what an instance may set for a sink through /<sink>/set/{instance}.
type Settings struct {
	// Schema is the JSON schema (2020-12) of the block under the sink's name. What it marks as writeOnly is never
	// shown: see [HideSecrets] and [RestoreSecrets].
	Schema json.RawMessage
	// Normalize turns a block that the schema has passed into the stored form, which is what find answers, without its
	// secrets, and [Delivery] carries. It must keep the keys "enabled" and "events". previous is the stored form until
	// now, nil if there is none. Each line of an error is shown to the client, behind the sink's name. nil means
	// [Subscribe].
	Normalize func(block, previous json.RawMessage) (json.RawMessage, error)
	// Created turns the stored form, without its secrets, into what POST /instance/create answers about the sink.
	// nil means {"enabled": ...}.
	Created func(stored json.RawMessage) json.RawMessage
}

// A Subscription is the part of an instance's stored settings that every sink has.
type Subscription struct {
	Enabled bool     `json:"enabled"`
	Events  []string `json:"events"` // config names; empty means all
}

// ParseSubscription reads the common part of stored settings. nil settings give a disabled subscription.
func ParseSubscription(settings json.RawMessage) (Subscription, error) {
	var s Subscription
	if len(settings) == 0 {
		return s, nil
	}
	err := event.Unmarshal(settings, &s)
	return s, err
}

// A Host is what the core offers a sink.
type Host struct {
	Logger    zerolog.Logger // has the sink's name as a field
	Directory Directory
	Envelope  event.Codec // how envelopes show token and time; a sink with other keys sets Keys in its copy
	Commander Commander   // has clients' commands done; nil if there can be none
	Log       Log         // nil when the engine keeps no log of events
	// Reached returns when every event of the log up to a position has been handed to the sink, or was not for it, or when
	// ctx ends. With it a sink of mode [Live] knows that what it has replayed will not come again. nil without a Log.
	Reached func(ctx context.Context, position int64) error
	// Available tells the core that what the sink delivers to can be reached again, as a broker can after a reconnect:
	// what waits because it was [Unavailable] is tried at once, and not when its pause is over. It may be called at any
	// time from [Sink.Start] on, by any number of goroutines at once, but not from within Retry and Address; it returns
	// promptly. nil where nothing waits.
	Available func()
}

// A Directory tells a sink about instances. Its methods may be called at any time by any number of goroutines.
type Directory interface {
	// Lookup returns the stored settings of this sink for an instance, nil if it
	// has none, and whether the instance exists.
	Lookup(instance string) (settings json.RawMessage, exists bool)
	// Owns reports whether the event is one of the instance that has its name now. An event that was accepted for a former
	// instance of that name is not, however late it comes, and must not reach a target of the instance's own.
	Owns(e *event.Event) bool
	// Authenticate tells what a key opens. It compares in constant time.
	Authenticate(key string) (Principal, bool)
	// Recheck is for a key or an instance, sought, that is unknown and was asked for by the client with that address: it
	// may have been made on another node a moment ago. It returns when the directory has what was made there until now,
	// 2 s later at most; ask again then. It costs little, however often it is called: the directory catches up once in a
	// second for one client and for one thing sought.
	Recheck(ctx context.Context, client, sought string)
	// Watch calls f for every change from now on, one at a time and in order, until stop is called.
	// f must return promptly. stop waits for a running f.
	Watch(f func(Change)) (stop func())
}

// A Principal is the holder of a key.
type Principal struct {
	Global   bool   // holds the global key, which opens everything
	Instance string // else the one instance that the key opens
}

// May reports whether the principal may act on the instance.
func (p Principal) May(instance string) bool {
	return p.Global || p.Instance == instance && instance != ""
}

// A Change is a change of an instance that a sink may have to react to.
type Change struct {
	Kind     ChangeKind
	Instance string
	ID       string // with Deleted: the id that the instance's record had
}

// ChangeKind tells what changed.
type ChangeKind uint8

// The kinds of change.
const (
	Created    ChangeKind = iota + 1 // the instance exists from now on
	Deleted                          // it is gone, settings and token with it
	NewToken                         // its former token opens nothing any more
	NewSetting                       // this sink's settings for it were stored
)

// ErrExpired says that a log does not hold the event to begin after (any more).
var ErrExpired = errors.New("the event log does not hold that event (any more)")
