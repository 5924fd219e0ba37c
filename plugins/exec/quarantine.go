package exec

import (
	"sync"
	"sync/atomic"
)

// quarantine holds deliveries that were in flight when the plugin ended, twice. One of them may be what ends it, and would for ever, with all
// that stand behind it: each is sent alone from then on. The one that ends the plugin even so is to blame, and uses up its attempts.
type quarantine struct {
	some atomic.Bool // there are any

	mu sync.Mutex
	// mu guards the fields below.
	ends map[string]int // by key
}

// maxQuarantined is more than any window; what is beyond is forgotten.
const maxQuarantined = 4096

func (s *quarantine) add(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends == nil || len(s.ends) >= maxQuarantined {
		s.ends = map[string]int{}
	}
	s.ends[key]++
	s.some.Store(true)
}

func (s *quarantine) has(key string) bool {
	if !s.some.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ends[key] >= 2
}

func (s *quarantine) clear(key string) {
	if !s.some.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ends, key)
	s.some.Store(len(s.ends) > 0)
}
