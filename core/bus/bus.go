// Package bus is the port to an engine, which carries events from Emit to the core's
// handlers: a log cut into shards, over watermill's Publisher and Subscriber.
//
// All events of an instance are in one shard, and a shard is in order; that is all the order there
// is and all that is needed. Package bustest holds every engine to this contract.
package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/ThreeDotsLabs/watermill/message"
)

// A Bus is an engine's side of the port. All methods may be called by any number of goroutines at once.
//
// Of the subscribers of a Bus ([Bus.Broadcast], [Bus.Group], [Bus.Batches]) Subscribe may wait until the engine knows
// where the subscription begins; connecting and reconnecting happens behind it. It fails for an unknown topic
// ([ErrTopic]), a closed bus and an ended context only. A message's context ends with its subscription. What an engine
// cannot decode arrives as a message that [Event] refuses with [ErrUndecodable], so that a handler can put it aside; it
// never ends a subscription.
type Bus interface {
	// Features returns what the engine can do beyond the least that the methods below promise; always the same.
	Features() Features

	// Append is the way in. It returns nil only when the engine has every message, for good where it is Durable. Messages
	// of one call stay in order; of several calls, they stay in the order in which the calls returned. While the engine
	// is busy Append waits until ctx ends, and then returns [ErrOverloaded] with the context's error; so too, and nothing
	// is published, if ctx had ended before. A message over the engine's limit is [ErrTooLarge]; then none of the call is
	// published; so too for a shard that the log does not have ([ErrTopic]). After any other error all, some or none of
	// the messages may be in the log, unless the engine has AtomicBatches: then none is. The messages stay the caller's,
	// their payloads are shared.
	//
	// It returns the position of each message, also of those that it left out because the log holds them, see
	// [Entry]; nil where the engine has no Positions.
	Append(ctx context.Context, shard int, entries ...Entry) ([]Position, error)

	// Publisher returns Append for users of watermill: Publish(Topic(shard), ...) appends, with the context of the first
	// message. See [NewPublisher].
	Publisher() message.Publisher

	// Broadcast returns a subscriber: every Subscribe(ctx, All) of it gets each message of all shards that is published
	// from then on, in order per shard, the next one after the ack of the last; with Nodes, on whichever node it was
	// published. A nack has it delivered again after a pause. A reader that is slow holds up no other and misses nothing,
	// within what the engine keeps; each engine says what happens beyond.
	Broadcast() message.Subscriber

	// Group returns a subscriber of a named group: each message of the shard topic subscribed to goes to one subscription
	// of the group, in the whole cluster with Nodes. A new group begins with the first message that the log holds where
	// the engine has a Backlog, else with what is published after its first Subscribe; it goes on with the first message
	// not acked. Of an instance the next message comes after the ack of the last; those of different instances may come,
	// and be acked, at once and out of order, up to a limit of the engine's. A nack has the message delivered again after
	// a pause; after the end of a subscription what was not acked comes again, and with it some of what was acked behind
	// it.
	Group(name string) message.Subscriber

	// Batches returns a subscriber of what Group hands over, or Broadcast with the group "", a [Batch] at a time. Unlike
	// with Group, the instances of a shard wait for each other: they share batches, and the next batch comes after the
	// answer to the last. After an ack the subscription goes on behind the batch. So does the next one of the group, but
	// where batches were kept ([Batch.Keep]) it begins at the cursor, and what was kept behind it comes again.
	Batches(group string) BatchSubscriber

	// Reached returns when a group has taken everything up to a cursor, here or on another node, or with ctx's error.
	// Taken is what the shard's subscription has acked, kept or not. While there is no subscription, only what is before
	// the group's cursor is taken: what was kept behind it comes again. An engine that cannot know what another node's
	// subscription has acked waits for the cursor. Where the engine has no Positions Reached returns [ErrUnsupported].
	Reached(ctx context.Context, c Cursor) error

	// Shards returns the number of shards, at least 1, the same for the life of the log.
	Shards() int

	// Check returns nil while Append can be expected to succeed.
	Check(ctx context.Context) error

	// Close ends all subscriptions, lets running Append calls end, and returns when nothing is left running.
	Close(ctx context.Context) error
}

// An Entry is a message on its way into the log.
type Entry struct {
	Message *message.Message
	// Once leaves the message out, with success, if the log holds one of the same id and instance: also one of the same
	// call, and one that another call publishes meanwhile. What belonged to a former instance of that name does not count.
	// An engine without that feature takes the message again.
	Once bool
}

// A Position is an engine's own number for a place in its log. 0 is no position. All that may be read from positions is
// their order within a shard; with Replay, those of all shards are in one order. They have gaps.
type Position int64

// Compare returns -1, 0 or 1 as p is before, at or behind q, a position of the same engine.
func (p Position) Compare(q Position) int { return cmp.Compare(p, q) }

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
	ErrUnsupported = errors.New("the engine does not have that feature")
	ErrOverloaded  = errors.New("the engine did not take the event in time")
	ErrTooLarge    = errors.New("the event is larger than the engine takes")
	ErrClosed      = errors.New("the bus is closed")
)

// A Cursor is where a reader stands after a message: a group, or with Group "" a broadcast subscription.
type Cursor struct {
	Group    string
	Shard    int
	Position Position
}
