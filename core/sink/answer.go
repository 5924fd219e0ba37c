package sink

import (
	"context"
	"sync"
)

// MaxAnswerHead is how many bytes of a target's answer are kept.
const MaxAnswerHead = 1 << 10

// An Answer is what a target said to an attempt, kept beside it for whoever looks the delivery up later.
type Answer struct {
	Status string // "200 OK", "nack", ...
	Head   []byte // how the answer began, at most [MaxAnswerHead] bytes
}

type answerKey struct{}

type answerBox struct {
	mu     sync.Mutex
	answer *Answer
}

// Report keeps the answer to the attempt that ctx belongs to; the last one counts. A sink calls it while Deliver runs, whether
// that succeeds or not. Without anybody who wants to know it does nothing. It copies what it keeps of a.Head.
func Report(ctx context.Context, a Answer) {
	box, ok := ctx.Value(answerKey{}).(*answerBox)
	if !ok {
		return
	}
	a.Head = append([]byte(nil), a.Head[:min(len(a.Head), MaxAnswerHead)]...)
	box.mu.Lock()
	defer box.mu.Unlock()
	box.answer = &a
}

// WithReports returns a context for one attempt, and a function that tells what [Report] was given in it, nil if nothing.
func WithReports(ctx context.Context) (_ context.Context, answer func() *Answer) {
	box := &answerBox{}
	return context.WithValue(ctx, answerKey{}, box), func() *Answer {
		box.mu.Lock()
		defer box.mu.Unlock()
		return box.answer
	}
}
