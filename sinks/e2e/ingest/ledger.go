package main

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// A ledger knows of every event when its POST began, whether it was accepted, and how often and when first it arrived.
// Events have numbers in the order in which they began. Any number of goroutines may use it at once.
type ledger struct {
	mu sync.Mutex
	// mu guards the fields below.
	records []record
	missing int       // accepted, and not arrived
	last    time.Time // when the last event arrived for the first time
}

type record struct {
	begun, arrived time.Time
	accepted       bool
	times          int
}

// begin returns the number of a new event.
func (l *ledger) begin() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, record{begun: time.Now()})
	return len(l.records) - 1
}

// accept notes that evosink has taken an event.
func (l *ledger) accept(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.records[n]
	r.accepted = true
	if r.times == 0 {
		l.missing++
	}
}

// arrive notes that an event has come to its receiver. What was never sent is left out: then one that was is missing.
func (l *ledger) arrive(n int) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n < 0 || n >= len(l.records) {
		return
	}
	r := &l.records[n]
	r.times++
	if r.times > 1 {
		return
	}
	r.arrived, l.last = now, now
	if r.accepted {
		l.missing--
	}
}

// sent is how many events have begun.
func (l *ledger) sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.records)
}

// backlog returns how many accepted events have not arrived, and when the last one did.
func (l *ledger) backlog() (missing int, last time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.missing, l.last
}

// A window is a load: the events that began in it, and what was used from its begin until all had arrived.
type window struct {
	from, to int // numbers of events
	begun    time.Time
	took     time.Duration
	used     usage
}

// figures is what a load came to.
type figures struct {
	rate                 float64 // events per second that arrived, until the last one had
	cpu                  float64 // µs per event
	bytes                float64 // per event
	p50, p99, max        float64 // ms from the begin of the POST to the call of the receiver
	others               float64 // what other programs used, in percent of all processors
	lost, twice, refused int     // accepted and not arrived; arrivals beyond the first; not accepted
}

// figures judges a window.
func (l *ledger) figures(w window) (f figures) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.others = 100 * w.used.others.Seconds() / w.took.Seconds() / float64(runtime.NumCPU())
	var took []float64
	end := w.begun
	for _, r := range l.records[w.from:w.to] {
		if r.times == 0 && r.accepted {
			f.lost++
		}
		if !r.accepted {
			f.refused++
		}
		if r.times > 0 {
			f.twice += r.times - 1
			took = append(took, float64(r.arrived.Sub(r.begun).Microseconds())/1000)
			end = latest(end, r.arrived)
		}
	}
	if len(took) == 0 {
		return f
	}
	slices.Sort(took)
	at := func(share float64) float64 { return took[int(share*float64(len(took)-1))] }
	f.p50, f.p99, f.max = at(0.5), at(0.99), at(1)
	n := float64(len(took))
	f.rate, f.cpu, f.bytes = n/end.Sub(w.begun).Seconds(), float64(w.used.cpu.Microseconds())/n, float64(w.used.written)/n
	return f
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
