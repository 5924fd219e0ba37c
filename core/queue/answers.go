package queue

import (
	"slices"
	"sync"

	"github.com/evosink/evosink/core/bus"
)

// answersKept is how many answers memory keeps.
const answersKept = 4096

// answers are the last entries of the log of attempts that are not stored: deliveries that were made at their first
// attempt, with what the sink reported of the answer. Any number of goroutines may use it at once.
type answers struct {
	mu   sync.Mutex
	kept []*Attempt // a ring once it is full
	next int
}

// add keeps an entry, in the place of the oldest if there are enough; nil is none.
func (k *answers) add(a *Attempt) {
	if a == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.kept) < answersKept {
		k.kept = append(k.kept, a)
		return
	}
	k.kept[k.next] = a
	k.next = (k.next + 1) % answersKept
}

// erase removes the entries of an instance, and returns how many.
func (k *answers) erase(e bus.Erasure) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	oldest := slices.Concat(k.kept[k.next:], k.kept[:k.next])
	k.kept = slices.DeleteFunc(oldest, func(a *Attempt) bool { return a.Instance == e.Instance && e.Has(a.InstanceID) })
	k.next = 0
	return len(oldest) - len(k.kept)
}

// of returns the entries of an event.
func (k *answers) of(eventID string) (out []Attempt) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range k.kept {
		if a.EventID == eventID {
			out = append(out, *a)
		}
	}
	return out
}
