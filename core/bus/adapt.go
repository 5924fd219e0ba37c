package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/retry"
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

	// Buffer is for a Pub/Sub whose Publish waits for its subscribers, as gochannel's must with
	// BlockPublishUntilSubscriberAck, without which it gets messages out of order. So many messages of each subscription
	// are acked as soon as they are here, and wait for their reader in this process; when they are more, Append waits. 0 acks
	// a message when its reader has, as a broker needs it to deliver again what was not handled.
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

// Adapt makes a bus of a Pub/Sub that the process has already: every message published goes to every subscription of the
// subscriber to its topic, in order. Both stay the caller's, who closes them after the bus. The bus has the features that
// are declared and no others: above all nothing can be replayed, and without a Group what was not handled when the process
// ends is lost, though Emit has returned nil.
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

// Append implements [Bus]. One call per shard publishes at a time. A Publish that has begun goes on when ctx ends, and its
// messages may still arrive.
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

// Batches implements [Bus]. A batch has one message.
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

// Close implements [Bus]. The Pub/Sub stays open. A Publish under way that does not end by itself keeps Close until ctx ends.
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

// An adaptedSubscriber is the handle that watermill's router gets and closes. All its subscriptions end with life.
type adaptedSubscriber struct {
	bus   *Adapted
	group string // "" broadcasts
	life  context.Context
	end   context.CancelFunc

	running sync.WaitGroup // subscriptions; grows under bus.mu while life lasts
}

func (a *Adapted) subscriberOf(group string) *adaptedSubscriber {
	s := &adaptedSubscriber{bus: a, group: group}
	s.life, s.end = context.WithCancel(a.life)
	return s
}

// Subscribe implements [message.Subscriber] as [Bus] wants it.
func (s *adaptedSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	out, c := NewOutlet()
	return c, s.begin(ctx, topic, out)
}

type adaptedBatches struct{ *adaptedSubscriber }

// Subscribe implements [BatchSubscriber].
func (s adaptedBatches) Subscribe(ctx context.Context, topic string) (<-chan *Batch, error) {
	out, c := NewBatchOutlet()
	return c, s.begin(ctx, topic, out)
}

// Close implements [message.Subscriber].
func (s *adaptedSubscriber) Close() error {
	s.bus.mu.Lock()
	s.end()
	s.bus.mu.Unlock()
	s.running.Wait()
	return nil
}

// begin waits until the Pub/Sub knows the subscription, and runs it.
func (s *adaptedSubscriber) begin(ctx context.Context, topic string, out *Outlet) error {
	shards, err := s.shards(topic)
	if err != nil {
		return err
	}
	if s.life.Err() != nil {
		return ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.life, cancel)
	src, err := s.source(ctx, shards)
	s.bus.mu.Lock()
	defer s.bus.mu.Unlock()
	if s.life.Err() != nil {
		err = ErrClosed
	}
	if err != nil {
		stop()
		cancel()
		return err
	}
	s.running.Add(1)
	s.bus.running.Go(func() {
		defer s.running.Done()
		defer out.Close()
		defer stop()
		defer cancel()
		src.feed(ctx, out)
	})
	return nil
}

func (s *adaptedSubscriber) shards(topic string) ([]int, error) {
	if s.group != "" {
		shard, err := ParseTopic(topic, s.bus.o.Shards)
		return []int{shard}, err
	}
	if topic != All {
		return nil, fmt.Errorf("%w %q: a broadcast subscribes to all shards at once, topic %s", ErrTopic, topic, All)
	}
	var all []int
	for shard := range s.bus.o.Shards {
		all = append(all, shard)
	}
	return all, nil
}

// source returns what a subscription reads: one of its own, or that of a group which this process makes.
func (s *adaptedSubscriber) source(ctx context.Context, shards []int) (*source, error) {
	a := s.bus
	switch {
	case s.group == "":
		return a.open(ctx, ctx, shards, func() (message.Subscriber, error) { return keptOpen{a.subscriber}, nil })
	case a.o.Group != nil:
		return a.open(ctx, ctx, shards, func() (message.Subscriber, error) { return a.o.Group(s.group) })
	}
	at := seat{s.group, shards[0]}
	a.mu.Lock()
	src := a.groups[at]
	a.mu.Unlock()
	if src != nil {
		return src, nil
	}
	src, err := a.open(ctx, a.life, shards, func() (message.Subscriber, error) { return keptOpen{a.subscriber}, nil })
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if first := a.groups[at]; first != nil {
		src.end()
		return first, nil
	}
	src.shared = true
	a.groups[at] = src
	return src, nil
}

// keptOpen is a subscriber that others use too.
type keptOpen struct{ message.Subscriber }

func (keptOpen) Close() error { return nil }

// A source is what comes from one or more topics, for one reader at a time.
type source struct {
	bus    *Adapted
	life   context.Context
	end    context.CancelFunc
	in     chan *message.Message
	turn   chan struct{}    // holds a token while no subscription reads
	held   *message.Message // read and not acked; the reader's
	shared bool             // outlives its readers
}

// open makes a source that lasts until life ends, and returns when the Pub/Sub knows all its subscriptions, or ctx ends.
func (a *Adapted) open(ctx, life context.Context, shards []int, from func() (message.Subscriber, error)) (*source, error) {
	src := &source{bus: a, in: make(chan *message.Message, a.o.Buffer), turn: make(chan struct{}, 1)}
	src.turn <- struct{}{}
	src.life, src.end = context.WithCancel(life)
	known := make(chan struct{}, len(shards))
	for _, shard := range shards {
		if !a.start(func() { src.pump(a.o.Prefix+Topic(shard), from, known) }) {
			src.end()
			return nil, ErrClosed
		}
	}
	for range shards {
		select {
		case <-known:
		case <-a.life.Done():
			src.end()
			return nil, ErrClosed
		case <-ctx.Done():
			src.end()
			return nil, ctx.Err()
		}
	}
	return src, nil
}

// pump reads a topic until the source's life ends, subscribing again whenever a subscription has ended or could not be made.
func (src *source) pump(topic string, subscriber func() (message.Subscriber, error), known chan<- struct{}) {
	defer src.note(topic, nil)
	told := false
	for src.life.Err() == nil {
		var s message.Subscriber
		var messages <-chan *message.Message
		if !Retry(src.life, func() bool {
			var err error
			if s, err = subscriber(); err == nil {
				if messages, err = s.Subscribe(src.life, topic); err != nil {
					s.Close()
				}
			}
			src.note(topic, err)
			return err == nil
		}) {
			return
		}
		if !told {
			told = true
			known <- struct{}{}
		}
		for m := range messages {
			src.take(m)
		}
		s.Close()
		if src.life.Err() == nil {
			src.note(topic, errors.New("the subscription has ended"))
			retry.Sleep(src.life.Done(), pauses.First)
		}
	}
}

// take passes a message on. What cannot be any more is nacked, for a Pub/Sub that delivers it again.
func (src *source) take(m *message.Message) {
	ours := m
	if src.bus.o.Buffer > 0 {
		ours = m.Copy()
	}
	select {
	case src.in <- ours:
		if ours != m {
			m.Ack()
			return
		}
	case <-src.life.Done():
		m.Nack()
		return
	}
	select { // the next one after this one's answer, whatever the Pub/Sub does
	case <-m.Acked():
	case <-m.Nacked():
	case <-src.life.Done():
		m.Nack()
	}
}

// feed hands the source's messages over until ctx ends, when no other subscription does.
func (src *source) feed(ctx context.Context, out *Outlet) {
	if !src.shared {
		defer src.end()
	}
	select {
	case <-src.turn:
	case <-ctx.Done():
		return
	}
	defer func() { src.turn <- struct{}{} }()
	for {
		if src.held == nil {
			select {
			case src.held = <-src.in:
			case <-ctx.Done():
				return
			}
		}
		if !out.Hand(ctx, []*message.Message{src.held}, nil) {
			if !src.shared {
				src.held.Nack()
			}
			return
		}
		src.held.Ack()
		src.held = nil
	}
}

// note keeps why a subscription could not be made, for Check.
func (src *source) note(topic string, err error) {
	a := src.bus
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil || src.life.Err() != nil {
		delete(a.faults, fault{src, topic})
	} else {
		a.faults[fault{src, topic}] = fmt.Errorf("subscribe to %s: %w", topic, err)
	}
}
