package bus

import (
	"context"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/retry"
)

// pauses are those after a nack, or after an error of an engine.
var pauses = retry.Backoff{First: 50 * time.Millisecond, Longest: 2 * time.Second}

// Retry calls try until it returns true, with pauses that grow from 50 ms to 2 s. It returns false if ctx ends first.
func Retry(ctx context.Context, try func() bool) bool { return pauses.Do(ctx.Done(), try) }

// An Outlet is the channel of a subscription, for engines: it hands over messages or batches as [Bus] promises.
type Outlet struct {
	// One of the two is nil: nothing is ever sent on it.
	messages chan *message.Message
	batches  chan *Batch
}

// NewOutlet returns an outlet with the channel of its messages.
func NewOutlet() (*Outlet, <-chan *message.Message) {
	c := make(chan *message.Message)
	return &Outlet{messages: c}, c
}

// NewBatchOutlet returns an outlet with the channel of its batches.
func NewBatchOutlet() (*Outlet, <-chan *Batch) {
	c := make(chan *Batch)
	return &Outlet{batches: c}, c
}

// Batches reports whether the outlet hands over batches.
func (o *Outlet) Batches() bool { return o.batches != nil }

// Close closes the channel. Nothing is handed over afterwards.
func (o *Outlet) Close() {
	if o.messages != nil {
		close(o.messages)
	} else {
		close(o.batches)
	}
}

// Hand offers copies of the first of some messages, with the others and the cursors behind each if the outlet is one of
// batches, until one is acked. kept says that the cursor stays, see [Batch.Keep]. acked is false when ctx ended first.
// Messages and cursors are only read.
func (o *Outlet) Hand(ctx context.Context, messages []*message.Message, at []Cursor) (acked, kept bool) {
	Retry(ctx, func() bool {
		var nacked bool
		acked, nacked, kept = o.offer(ctx, messages, at)
		return !nacked
	})
	return acked, kept
}

// offer hands over one copy and waits for the answer; neither is true when ctx ended first.
func (o *Outlet) offer(ctx context.Context, messages []*message.Message, at []Cursor) (acked, nacked, kept bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := messages[0].Copy()
	m.SetContext(ctx)
	batch := &Batch{}
	if o.batches != nil {
		*batch = Batch{Messages: slices.Clone(messages), Cursors: at}
		batch.Messages[0] = m
	}
	select {
	case o.messages <- m:
	case o.batches <- batch:
	case <-ctx.Done():
		return false, false, false
	}
	select {
	case <-m.Acked():
		return true, false, batch.kept
	case <-m.Nacked():
		return false, true, false
	case <-ctx.Done():
		select {
		case <-m.Acked(): // an ack that came at the same moment counts
			return true, false, batch.kept
		default:
			return false, false, false
		}
	}
}
