package sink

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// MaxAnswerHead is how many bytes of a target's answer are kept.
const MaxAnswerHead = 1 << 10

// An Answer is what a target said to an attempt, kept beside it for later look-ups of the delivery.
type Answer struct {
	Status string // "200 OK", "nack", ...
	Head   []byte // how the answer began, at most [MaxAnswerHead] bytes
}

type answerKey struct{}

type answerBox struct {
	mu     sync.Mutex
	answer *Answer
}

// Report keeps the answer to the attempt that ctx belongs to; the last one counts. A sink calls it while Deliver runs,
// whether that succeeds or not. In a context without [WithReports] it does nothing. It copies what it keeps of a.Head.
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

// WithReports returns a context for one attempt, and a function that tells what [Report] was given in it, nil if
// nothing.
func WithReports(ctx context.Context) (_ context.Context, answer func() *Answer) {
	box := &answerBox{}
	return context.WithValue(ctx, answerKey{}, box), func() *Answer {
		box.mu.Lock()
		defer box.mu.Unlock()
		return box.answer
	}
}

type connectedKey struct{}

// Connected tells that the attempt that ctx belongs to has reached its host, long before the host may answer: whatever
// waits for that may go on. A [Hoster] calls it while Deliver runs. In a context without [WithConnected] it does
// nothing.
func Connected(ctx context.Context) {
	if f, ok := ctx.Value(connectedKey{}).(func()); ok {
		f()
	}
}

// WithConnected returns a context for one attempt in which [Connected] calls f, perhaps several times and at once.
func WithConnected(ctx context.Context, f func()) context.Context {
	return context.WithValue(ctx, connectedKey{}, f)
}

// AnswerPatience bounds how long ReadHead takes.
const AnswerPatience = 2 * time.Second

// maxAnswerBytes is how much of a body is read so that its connection can be used again. A longer one costs the
// connection.
const maxAnswerBytes = 64 << 10

// ReadHead reads the first [MaxAnswerHead] bytes of an answer's body, and the rest if it is short, so that the
// connection can be used again; the caller closes it. The status is known by then: a body that does not come, breaks
// off or never ends changes nothing. It returns after [AnswerPatience] at the latest, and soon after ctx has ended.
//
// Only closing the body ends every read of it: after 101 Switching Protocols the body is the bare connection, which the
// end of the request's context does not close. Nothing is read of that.
func ReadHead(ctx context.Context, res *http.Response) []byte {
	if res.StatusCode == http.StatusSwitchingProtocols || res.ContentLength == 0 {
		return nil
	}
	end := func() { _ = res.Body.Close() }
	defer time.AfterFunc(AnswerPatience, end).Stop()
	defer context.AfterFunc(ctx, end)()
	head := make([]byte, MaxAnswerHead)
	n, err := io.ReadFull(res.Body, head)
	if err == nil {
		_, _ = io.CopyN(io.Discard, res.Body, maxAnswerBytes-MaxAnswerHead)
	}
	return head[:n]
}
