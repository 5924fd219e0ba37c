package websocket

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/evosink/evosink/core/event"
)

// Bounds of what a client may send along with CONNECT.
const (
	maxConnect = 16 << 10 // bytes of all of it
	maxEvents  = 256      // names in auth.events
)

// auth is the object that a client may send along with CONNECT. Keys that are none of ours are ignored.
type auth struct {
	APIKey string `json:"apikey"`
	Token  string `json:"token"`
	Events names  `json:"events"` // take only these, in any spelling
	Since  string `json:"since"`  // id of the last event seen: begin with the one after it
}

// names is a list of names: an array, or a text with commas, which is all that clients of version 2 can send.
type names []string

// UnmarshalJSON implements [json.Unmarshaler].
func (n *names) UnmarshalJSON(raw []byte) error {
	if len(raw) == 0 || raw[0] != '"' {
		return json.Unmarshal(raw, (*[]string)(n))
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return err
	}
	*n = nil
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			*n = append(*n, name)
		}
	}
	return nil
}

func parseAuth(raw json.RawMessage) (auth, error) {
	var a auth
	if len(raw) == 0 {
		return a, nil
	}
	if err := event.Unmarshal(raw, &a); err != nil {
		return a, errors.New(`auth must be like {"apikey": "…", "events": ["messages.upsert"], "since": "<event id>"}`)
	}
	if len(a.Events) > maxEvents {
		return a, fmt.Errorf("auth.events has %d names, at most %d are allowed", len(a.Events), maxEvents)
	}
	if len(a.Since) > event.MaxID {
		return a, fmt.Errorf("auth.since has %d bytes, an event's id has at most %d", len(a.Since), event.MaxID)
	}
	for i, name := range a.Events {
		if strings.EqualFold(name, "ALL") {
			a.Events[i] = "ALL"
		} else if !event.CheckSubscription(name) {
			return a, fmt.Errorf("auth.events: %.128q is no event", name)
		}
	}
	return a, nil
}

// filters gives clients that ask for the same events the same filter, so that it costs memory once. A filter is
// forgotten with the last socket, or client that may come back, that has it.
type filters struct {
	mu sync.Mutex
	// mu guards the field below.
	known map[[sha256.Size]byte]weak.Pointer[event.Filter]
}

// get returns the filter of a list of events; no names mean all events.
func (f *filters) get(names []string) *event.Filter {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	sum := sha256.Sum256([]byte(strings.Join(names, "\n")))
	f.mu.Lock()
	defer f.mu.Unlock()
	if filter := f.known[sum].Value(); filter != nil {
		return filter
	}
	filter := new(event.Filter)
	*filter = event.NewFilter(names...)
	if f.known == nil {
		f.known = map[[sha256.Size]byte]weak.Pointer[event.Filter]{}
	}
	f.known[sum] = weak.Make(filter)
	runtime.AddCleanup(filter, f.forget, sum)
	return filter
}

// forget removes what is known of a filter that nothing refers to any more.
func (f *filters) forget(sum [sha256.Size]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known[sum].Value() == nil { // not made anew meanwhile
		delete(f.known, sum)
	}
}
