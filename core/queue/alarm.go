package queue

import (
	"container/heap"
	"context"
	"time"
)

// An alarm calls ring, with Queue.mu held, when its time has come. Times carry the monotonic clock, so a
// wall clock that is set neither delays nor hurries anything.
type alarm struct {
	at    time.Time
	index int // in the heap, from 1; 0 while the alarm is not set
	ring  func()
}

// alarms is a heap of those that are set. It takes no worker and no timer of its own to wait.
type alarms []*alarm

func (h alarms) Len() int           { return len(h) }
func (h alarms) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

func (h *alarms) Push(x any) {
	a := x.(*alarm)
	*h = append(*h, a)
	a.index = len(*h)
}

func (h *alarms) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h, a.index = old[:len(old)-1], 0
	return a
}

// set makes a ring after d, whatever it was set to before.
func (q *Queue) set(a *alarm, d time.Duration) {
	q.unset(a)
	a.at = time.Now().Add(d)
	heap.Push(&q.alarms, a)
	if a.index == 1 {
		select {
		case q.earlier <- struct{}{}:
		default:
		}
	}
}

func (q *Queue) unset(a *alarm) {
	if a.index > 0 {
		heap.Remove(&q.alarms, a.index-1)
	}
}

// watch rings alarms until ctx ends.
func (q *Queue) watch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-q.earlier:
		case <-ctx.Done():
			return
		}
		if d, ok := q.ringDue(); ok {
			timer.Reset(d)
		} else {
			timer.Stop()
		}
	}
}

// ringDue rings what is due and returns the time until the next alarm, if one is set.
func (q *Queue) ringDue() (d time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for len(q.alarms) > 0 {
		if d := q.alarms[0].at.Sub(now); d > 0 {
			return d, true
		}
		heap.Pop(&q.alarms).(*alarm).ring()
	}
	return 0, false
}
