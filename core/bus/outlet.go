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

// Hand offers copies of a batch until one is acked; an outlet of messages takes batches of one. A copy has a first
// message of its own, with a context that ends with ctx, and shares the rest. acked is false when ctx ended first; kept
// says that the batch was acked with [Batch.Keep].
func (o *Outlet) Hand(ctx context.Context, b Batch) (acked, kept bool) {
	Retry(ctx, func() bool {
		var nacked bool
		acked, nacked, kept = o.offer(ctx, b)
		return !nacked
	})
	return acked, kept
}

// offer hands over one copy and waits for the answer; neither is true when ctx ended first.
func (o *Outlet) offer(ctx context.Context, b Batch) (acked, nacked, kept bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first := b.Messages[0].Copy()
	first.SetContext(ctx)
	offered := &Batch{Messages: slices.Clone(b.Messages), Cursors: b.Cursors}
	offered.Messages[0] = first
	select {
	case o.messages <- first:
	case o.batches <- offered:
	case <-ctx.Done():
		return false, false, false
	}
	select {
	case <-first.Acked():
		return true, false, offered.kept
	case <-first.Nacked():
		return false, true, false
	case <-ctx.Done():
		select {
		case <-first.Acked(): // an ack that came at the same moment counts
			return true, false, offered.kept
		default:
			return false, false, false
		}
	}
}
