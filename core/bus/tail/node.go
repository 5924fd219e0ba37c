package tail

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
)

// A Log is what an engine shares with its subscriptions. Its fields are set before the first [Node] is made.
type Log struct {
	*Tail
	*Readers

	// Read returns, from the engine's storage, the oldest entries of a shard, or of [All], behind a position; none if
	// there is none. After an error it is called again, after a pause. nil if storage is the tail itself.
	Read func(ctx context.Context, shard int, after int64) ([]Entry, error)

	// Missed is called when a broadcast reader has fallen so far behind that storage has removed n entries that it had
	// not read, wherever in the log; positions must be given out without gaps then. It must not block. May be nil.
	Missed func(n int64)

	// Moved is called after an ack has moved a reader, and after a broadcast reader has left. It must not block. May be
	// nil.
	Moved func(*Reader)

	// Head returns the position of the newest entry where other processes add to the log too: a broadcast begins behind
	// it. After an error it is called again, after a pause. nil if the tail has every entry.
	Head func(ctx context.Context) (int64, error)

	// Enter waits until this process is the one that reads a group's shard, and returns where the group stands, on an
	// engine whose log several processes share. It is asked with the reader's turn taken, again and again until ctx ends;
	// ok is false if it has ended. held is made of ctx and ends when the turn does; leave gives the turn back. nil if the
	// process is alone.
	Enter func(ctx context.Context, r *Reader) (held context.Context, at int64, leave func(), ok bool)
}

// A Node is the subscribing side of one bus. It owns the goroutines of its subscriptions.
type Node struct {
	log *Log

	mu sync.Mutex
	// mu guards the fields below.
	open   map[*subscription]struct{}
	asking map[*context.CancelFunc]*subscriber // for the head
	closed bool
}

// NewNode returns a node of the log. It runs nothing until the first subscription.
func NewNode(log *Log) *Node {
	return &Node{log: log, open: map[*subscription]struct{}{}, asking: map[*context.CancelFunc]*subscriber{}}
}

// Broadcast implements the method of [bus.Bus].
func (n *Node) Broadcast() message.Subscriber { return &subscriber{node: n} }

// Group implements the method of [bus.Bus].
func (n *Node) Group(name string) message.Subscriber { return &subscriber{node: n, group: name} }

// Batches implements the method of [bus.Bus].
func (n *Node) Batches(group string) bus.BatchSubscriber {
	return batches{&subscriber{node: n, group: group}}
}

// Reached implements the method of [bus.Bus].
func (n *Node) Reached(ctx context.Context, c bus.Cursor) error { return n.log.Readers.reached(ctx, c) }

// Close ends all subscriptions and returns when their goroutines have ended. New ones are refused with [bus.ErrClosed].
func (n *Node) Close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.end(func(*subscriber) bool { return true })
}

func (n *Node) end(match func(*subscriber) bool) {
	var ended []*subscription
	n.mu.Lock()
	for s := range n.open {
		if match(s.owner) {
			ended = append(ended, s)
		}
	}
	for cancel, s := range n.asking {
		if match(s) {
			(*cancel)()
		}
	}
	n.mu.Unlock()
	for _, s := range ended {
		s.cancel()
	}
	for _, s := range ended {
		<-s.done
	}
}

// A subscriber is the handle that watermill's router gets and closes.
type subscriber struct {
	node   *Node
	group  string // "" broadcasts
	closed bool   // guarded by node.mu
}

// Subscribe implements [message.Subscriber] as [bus.Bus] wants it.
func (s *subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	out, c := bus.NewOutlet()
	return c, s.begin(ctx, topic, out)
}

// batches is a subscriber of batches.
type batches struct{ *subscriber }

// Subscribe implements [bus.BatchSubscriber].
func (b batches) Subscribe(ctx context.Context, topic string) (<-chan *bus.Batch, error) {
	out, c := bus.NewBatchOutlet()
	return c, b.begin(ctx, topic, out)
}

// begin makes a subscription and runs it.
func (s *subscriber) begin(ctx context.Context, topic string, out *bus.Outlet) error {
	shard, err := s.shard(topic)
	if err != nil {
		return err
	}
	log := s.node.log
	var head int64
	if s.group == "" && log.Head != nil {
		if head, err = s.head(ctx); err != nil {
			return err
		}
	}
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	if s.node.closed || s.closed {
		return bus.ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	sub := &subscription{
		owner: s, log: log, reader: log.join(s.group, shard, log.Tail), out: out, cancel: cancel, done: make(chan struct{}),
	}
	sub.reader.move(head)
	s.node.open[sub] = struct{}{}
	go sub.run(ctx)
	return nil
}

// head asks the log where it ends until it answers.
func (s *subscriber) head(ctx context.Context) (at int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.node.mu.Lock()
	if s.node.closed || s.closed {
		s.node.mu.Unlock()
		return 0, bus.ErrClosed
	}
	s.node.asking[&cancel] = s
	s.node.mu.Unlock()
	ok := bus.Retry(ctx, func() bool {
		at, err = s.node.log.Head(ctx)
		return err == nil || ctx.Err() != nil
	})
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	delete(s.node.asking, &cancel)
	switch {
	case s.node.closed || s.closed:
		return 0, bus.ErrClosed
	case !ok || err != nil:
		return 0, ctx.Err()
	}
	return at, nil
}

var errBroadcastTopic = errors.New("a broadcast subscribes to all shards at once, topic " + bus.All)

func (s *subscriber) shard(topic string) (int, error) {
	if s.group != "" {
		return bus.ParseTopic(topic, s.node.log.Shards())
	}
	if topic != bus.All {
		return 0, fmt.Errorf("%w %q: %w", bus.ErrTopic, topic, errBroadcastTopic)
	}
	return All, nil
}

// Close ends the subscriptions made by this subscriber and returns when they have ended.
func (s *subscriber) Close() error {
	s.node.mu.Lock()
	s.closed = true
	s.node.mu.Unlock()
	s.node.end(func(other *subscriber) bool { return other == s })
	return nil
}

func (n *Node) remove(sub *subscription) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.open, sub)
}
