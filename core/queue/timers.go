package queue

import (
	"container/heap"
	"sync"
	"time"
)

// A timer calls fire, with the lock of its timers held, when its time has come. Times carry the monotonic clock, so a
// wall clock that is set neither delays nor hurries anything.
type timer struct {
	at    time.Time
	index int // in the heap, from 1; 0 while the timer is not set
	fire  func()
}

// timers is a heap of the timers that are set, behind one timer of the runtime: a lane that waits costs an entry here
// and no goroutine.
type timers struct {
	mu      *sync.Mutex // guards everything, and is held while a timer fires
	after   func()      // called when timers have fired, with the lock held
	heap    timerHeap
	next    *time.Timer // set to the first of the heap; nil before the first
	stopped bool
}

// set makes t fire after d, whatever it was set to before.
func (ts *timers) set(t *timer, d time.Duration) {
	ts.unset(t)
	t.at = time.Now().Add(d)
	heap.Push(&ts.heap, t)
	if t.index == 1 {
		ts.wind(d)
	}
}

func (ts *timers) unset(t *timer) {
	if t.index > 0 {
		heap.Remove(&ts.heap, t.index-1)
	}
}

func (ts *timers) wind(d time.Duration) {
	switch {
	case ts.stopped:
	case ts.next == nil:
		ts.next = time.AfterFunc(d, ts.fireDue)
	default:
		ts.next.Reset(d)
	}
}

func (ts *timers) fireDue() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	now := time.Now()
	for len(ts.heap) > 0 && !ts.stopped {
		if d := ts.heap[0].at.Sub(now); d > 0 {
			ts.wind(d)
			break
		}
		heap.Pop(&ts.heap).(*timer).fire()
	}
	ts.after()
}

// stop lets no timer fire any more.
func (ts *timers) stop() {
	if ts.stopped = true; ts.next != nil {
		ts.next.Stop()
	}
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i+1, j+1
}

// Push implements [heap.Interface].
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	*h = append(*h, t)
	t.index = len(*h)
}

// Pop implements [heap.Interface].
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h, t.index = old[:len(old)-1], 0
	return t
}
