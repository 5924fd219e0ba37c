// Package bus is the port to an engine, which carries events from Emit to the core's
// handlers: a log cut into shards, over watermill's Publisher and Subscriber.
//
// All events of an instance are in one shard, and a shard is in order; that is all the order there
// is and all that is needed. Package bustest holds every engine to this contract.
package bus

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/ThreeDotsLabs/watermill/message"
)

// A Bus is an engine's side of the port. All methods may be called by any number of goroutines at once.
type Bus interface {
	// Publisher returns the way in. Publish(Topic(shard), ...) returns nil only when the engine has every
	// message for good: after a crash of process and machine it is still there. Messages of one call stay in
	// order; of several, they stay in the order in which the calls returned. While the engine
	// is busy Publish waits until the context of the first message ends, and then returns [ErrOverloaded] with the
	// context's error, and nothing is published; so too if it had ended before. A message over the engine's limit is
	// [ErrTooLarge]; then none of the call is published. The messages stay the caller's, their payloads are shared.
	Publisher() message.Publisher

	// Broadcast returns a subscriber whose every Subscribe(ctx, All) gets each message of all shards that is
	// published from then on, on whichever node, in order per shard, the next one after the ack of
	// the last. A nack has it delivered again after a pause. A reader that is slow holds up nobody and misses nothing, within
	// what the engine keeps; each engine says what happens beyond.
	Broadcast() message.Subscriber

	// Group returns a subscriber of a named group: each message of the shard topic subscribed to goes to one
	// subscription of the group in the whole cluster, beginning with the first message that the log holds when the
	// group is new, and with the first one not acked otherwise. Of an instance the next message comes after the ack of the
	// last; those of different instances may come, and be acked, at once and out of order, up to a limit of the engine's. A
	// nack has the message delivered again after a pause; after the end of a subscription what was not acked comes again,
	// and with it some of what was acked behind it.
	Group(name string) message.Subscriber

	// Shards returns the number of shards, at least 1, the same for the life of the log.
	Shards() int

	// Check returns nil while Publish can be expected to succeed.
	Check(ctx context.Context) error

	// Close ends all subscriptions, lets running Publish calls end, and returns when nothing is left running.
	Close(ctx context.Context) error
}

// A Batcher is a [Bus] that can hand a group several messages at once.
type Batcher interface {
	// Batches is Bus.Group, but a message may bring the next ones of its instance along, see [Followers]; its ack, or nack, is theirs too.
	Batches(name string) message.Subscriber
}

// Subscribe of these subscribers neither blocks nor fails but for an unknown topic ([ErrTopic]) or a closed bus: connecting and
// reconnecting happens behind it. A message's context ends with its subscription. What an engine cannot
// decode arrives as a message that [Event] refuses with [ErrUndecodable], so that a
// handler can put it aside; it never ends a subscription.

// All is the topic of every shard, for [Bus.Broadcast].
const All = "events"

// Topic returns the topic of a shard, "events.03".
func Topic(shard int) string { return fmt.Sprintf("events.%02d", shard) }

// Shard returns the shard of an instance among n.
func Shard(instance string, n int) int {
	h := fnv.New32a()
	h.Write([]byte(instance))
	return int(h.Sum32() % uint32(n))
}

// Errors of engines.
var (
	ErrOverloaded = errors.New("the engine did not take the event in time")
	ErrTooLarge   = errors.New("the event is larger than the engine takes")
	ErrClosed     = errors.New("the bus is closed")
)

// A Cursor is where a reader stands after a message: a group, or with Group "" a broadcast subscription, whose positions
// are those of sink.Log. An engine that has such a log attaches it to messages of broadcasts. One
// that also keeps the delivery queue attaches it to the messages of its groups, so that the queue can move it in the transaction that stores
// the deliveries; the ack of the message then costs nothing more. A message that is acked before others in front of it brings none.
type Cursor struct {
	Group    string
	Shard    int
	Position int64
}

type onceKey struct{}

// Once marks the messages that ctx is the context of. Publish leaves such a message out, and succeeds, if the log holds one
// of the same id and instance: also one of the same call, and one that another call publishes meanwhile. What belonged to a
// former instance of that name does not count. An engine whose log cannot be asked takes the message again.
func Once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

// IsOnce reports whether [Once] has marked a message's context.
func IsOnce(ctx context.Context) bool { return ctx.Value(onceKey{}) != nil }

type followersKey struct{}

// WithFollowers attaches to a message's context the messages of the same instance that are next behind it.
func WithFollowers(ctx context.Context, followers []*message.Message) context.Context {
	return context.WithValue(ctx, followersKey{}, followers)
}

// Followers returns the messages that a message of a [Batcher] stands for besides itself, in order. They are shared: they are not to be
// changed, acked or nacked.
func Followers(ctx context.Context) []*message.Message {
	followers, _ := ctx.Value(followersKey{}).([]*message.Message)
	return followers
}

type cursorKey struct{}

// WithCursor attaches c to a message's context.
func WithCursor(ctx context.Context, c Cursor) context.Context {
	return context.WithValue(ctx, cursorKey{}, c)
}

// CursorOf returns the cursor attached to a message's context.
func CursorOf(ctx context.Context) (Cursor, bool) {
	c, ok := ctx.Value(cursorKey{}).(Cursor)
	return c, ok
}
