package queue

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// A panicError is what is left of a panic in a sink.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("the sink panicked: %v", e.value) }

// try hands the trials to the sink, all at once if it takes batches, and fills in their errors. The attempt that it
// returns holds what they have in common.
func (q *Queue) try(ctx context.Context, o *outlet, trials []*trial) *Attempt {
	ctx, answer := sink.WithReports(ctx)
	if d := trials[0].policy.Timeout; d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	a := &Attempt{At: time.Now()}
	if o.batcher != nil {
		o.deliverBatch(ctx, trials)
	} else {
		trials[0].errs = []error{o.deliver(ctx, trials[0].requests[0])}
	}
	a.Took = time.Since(a.At)
	if said := answer(); said != nil {
		a.Status, a.Head = clip(said.Status), said.Head
	}
	return a
}

func (o *outlet) deliver(ctx context.Context, d *sink.Delivery) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return o.Sink.Deliver(ctx, d)
}

func (o *outlet) deliverBatch(ctx context.Context, trials []*trial) {
	var all []*sink.Delivery
	for _, t := range trials {
		all = append(all, t.requests...)
	}
	errs := o.callBatcher(ctx, all)
	for _, t := range trials {
		t.errs, errs = errs[:len(t.requests)], errs[len(t.requests):]
	}
}

// callBatcher returns an error or nil for each delivery, whatever the sink does.
func (o *outlet) callBatcher(ctx context.Context, all []*sink.Delivery) (errs []error) {
	defer func() {
		if p := recover(); p != nil {
			errs = repeat(&panicError{p, debug.Stack()}, len(all))
		}
	}()
	errs = o.batcher.DeliverBatch(ctx, all)
	if len(errs) != len(all) {
		return repeat(fmt.Errorf("the sink answered %d of %d deliveries", len(errs), len(all)), len(all))
	}
	return errs
}

func repeat(err error, n int) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// clip bounds a text from outside.
func clip(s string) string { return clipTo(s, 1000) }

func clipTo(s string, limit int) string { return strings.ToValidUTF8(s[:min(len(s), limit)], "\ufffd") }
