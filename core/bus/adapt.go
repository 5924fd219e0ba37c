package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// AdaptOptions say what a Pub/Sub of watermill can do. Its zero value is for one that keeps nothing.
type AdaptOptions struct {
	// Shards is the number of topics. Default 16; at most 1,024.
	Shards int
	// Prefix is put before the names of topics ([Topic]), to keep them apart from others of the Pub/Sub.
	Prefix string

	// Group returns the subscriber of a consumer group: of its subscriptions to a topic, on whichever node, each message
	// goes to one. It is called for each subscription and must give the next message of a topic after the ack of the last;
	// it is closed with the subscription. If nil, groups are made of the other subscriber within this process: a group
	// begins with its first subscription, and ends with the bus. While it has none in between, its messages gather; when
	// there are more than the Buffer, Append waits.
	Group func(name string) (message.Subscriber, error)

	// Buffer is for a Pub/Sub with a Publish that waits for subscribers, as gochannel's must with
	// BlockPublishUntilSubscriberAck, without which it gets messages out of order. So many messages of each subscription
	// are acked as soon as they are here, and wait for their reader in this process; when they are more, Append waits. 0
	// acks a message when its reader has, as a broker needs it to deliver again what was not handled.
	Buffer int

	// MaxBytes is the size of the largest message, metadata included. Default no limit.
	MaxBytes int

	// Features are what the Pub/Sub has. Once, Positions, Replay and CursorWithQueue cannot be had through watermill's
	// interfaces; Reopens, Backlog and Nodes take a Group.
	Features Features
}

// Validate reports everything that is wrong with o.
func (o AdaptOptions) Validate() error {
	var errs []error
	if o.Shards < 0 || o.Shards > 1024 {
		errs = append(errs, fmt.Errorf("the number of Shards must be between 1 and 1024, it is %d", o.Shards))
	}
	if o.Buffer < 0 || o.MaxBytes < 0 {
		errs = append(errs, errors.New("both Buffer and MaxBytes must not be below 0"))
	}
	if f := o.Features; f.Once || f.Positions || f.Replay || f.CursorWithQueue {
		errs = append(errs, errors.New("the features Once, Positions, Replay and CursorWithQueue cannot be had through watermill's interfaces"))
	}
	if f := o.Features; o.Group == nil && (f.Reopens || f.Backlog || f.Nodes) {
		errs = append(errs, errors.New("the features Reopens, Backlog and Nodes take consumer groups (Group)"))
	}
	if f := o.Features; o.Buffer > 0 && f.Reopens {
		errs = append(errs, errors.New("what is buffered is lost with the process: Reopens and Buffer exclude each other"))
	}
	return errors.Join(errs...)
}

// An Adapted is a [Bus] over a Pub/Sub of watermill, see [Adapt].
type Adapted struct {
	o          AdaptOptions
	publisher  message.Publisher
	subscriber message.Subscriber
	turns      []chan struct{} // of each shard: holds a token while no Publish is under way
	life       context.Context // ends with the bus
	end        context.CancelFunc
	running    sync.WaitGroup // of goroutines

	mu sync.Mutex
	// mu guards the fields below.
	closed bool
	groups map[seat]*source // those that this process makes
	faults map[fault]error
}

var _ Bus = (*Adapted)(nil)

type seat struct {
	group string
	shard int
}

type fault struct {
	*source
	topic string
}

// Adapt makes a bus of a Pub/Sub that the process has already: every message published goes to every subscription of
// the subscriber to its topic, in order. Both stay the caller's, to be closed after the bus. The bus has the
// features that are declared and no others: above all nothing can be replayed, and without a Group what was not
// handled when the process ends is lost, though Emit has returned nil.
//
//	local := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, nil)
//	b, err := bus.Adapt(local, local, bus.AdaptOptions{Buffer: 1024})
func Adapt(publisher message.Publisher, subscriber message.Subscriber, o AdaptOptions) (*Adapted, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("adapt a Pub/Sub: %w", err)
	}
	if o.Shards == 0 {
		o.Shards = 16
	}
	a := &Adapted{
		o: o, publisher: publisher, subscriber: subscriber, turns: make([]chan struct{}, o.Shards),
		groups: map[seat]*source{}, faults: map[fault]error{},
	}
	for i := range a.turns {
		a.turns[i] = make(chan struct{}, 1)
		a.turns[i] <- struct{}{}
	}
	a.life, a.end = context.WithCancel(context.Background())
	return a, nil
}

// Features implements [Bus].
func (a *Adapted) Features() Features { return a.o.Features }

// Shards implements [Bus].
func (a *Adapted) Shards() int { return a.o.Shards }

// Publisher implements [Bus].
func (a *Adapted) Publisher() message.Publisher { return NewPublisher(a) }

// Reached implements [Bus]: a Pub/Sub has no positions.
func (a *Adapted) Reached(context.Context, Cursor) error {
	return fmt.Errorf("positions: %w", ErrUnsupported)
}

// Append implements [Bus]. One call per shard publishes at a time. A Publish that has begun goes on when ctx ends, and
// its messages may still arrive.
func (a *Adapted) Append(ctx context.Context, shard int, entries ...Entry) ([]Position, error) {
	if err := CheckShard(shard, a.o.Shards); err != nil {
		return nil, err
	}
	messages := make([]*message.Message, len(entries))
	for i, e := range entries {
		if n := Size(e.Message); a.o.MaxBytes > 0 && n > a.o.MaxBytes {
			return nil, fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrTooLarge, n, a.o.MaxBytes)
		}
		messages[i] = e.Message.Copy()
	}
	if a.life.Err() != nil {
		return nil, ErrClosed
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", ErrOverloaded, ctx.Err())
	}
	select {
	case <-a.turns[shard]:
	case <-a.life.Done():
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: others publish: %w", ErrOverloaded, ctx.Err())
	}
	published := make(chan error, 1)
	publish := func() {
		defer func() { a.turns[shard] <- struct{}{} }()
		published <- a.publisher.Publish(a.o.Prefix+Topic(shard), messages...)
	}
	if !a.start(publish) {
		a.turns[shard] <- struct{}{}
		return nil, ErrClosed
	}
	select {
	case err := <-published:
		return nil, err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: the Pub/Sub has not answered, the events may still arrive: %w", ErrOverloaded, ctx.Err())
	}
}

// start runs f in a goroutine that Close waits for, unless the bus is closed.
func (a *Adapted) start(f func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.running.Go(f)
	return true
}

// Broadcast implements [Bus].
func (a *Adapted) Broadcast() message.Subscriber { return a.subscriberOf("") }

// Group implements [Bus].
func (a *Adapted) Group(name string) message.Subscriber { return a.subscriberOf(name) }

// Batches implements [Bus]. A batch has one message and no cursors; to keep it changes nothing.
func (a *Adapted) Batches(group string) BatchSubscriber { return adaptedBatches{a.subscriberOf(group)} }

// Check implements [Bus]. It returns an error while a subscription cannot be made again.
func (a *Adapted) Check(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return ErrClosed
	}
	return errors.Join(slices.Collect(maps.Values(a.faults))...)
}

// Close implements [Bus]. The Pub/Sub stays open. A Publish under way that does not end by itself keeps Close until
// ctx ends.
func (a *Adapted) Close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.end()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.running.Wait()
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close the bus: the Pub/Sub is still at work: %w", ctx.Err())
	}
}
