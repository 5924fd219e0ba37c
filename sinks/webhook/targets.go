package webhook

import (
	"encoding/json"
	"sync"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// Names of targets. Those of the list are "list/" and the webhook's name. "~" and a number follow where the order is relaxed.
const (
	globalTarget = "global"
	errorsTarget = "errors"
	singleTarget = "instance"
	listPrefix   = "list/"
)

// errorEvent is the event that the error webhook is for.
const errorEvent = "error"

// Targets implements [sink.Targeter].
func (s *Sink) Targets(e *event.Event, scopes []sink.Scope, settings json.RawMessage) []sink.Destination {
	var out []sink.Destination
	for _, scope := range scopes {
		switch scope {
		case sink.Global:
			if s.wanted && s.events.Has(e.Name) {
				out = append(out, sink.Destination{Scope: scope, Target: globalTarget})
			}
			if s.errors != nil && e.Name == errorEvent {
				out = append(out, sink.Destination{Scope: scope, Target: errorsTarget})
			}
		case sink.Instance:
			out = append(out, s.targets(e, settings)...)
		}
	}
	return out
}

func (s *Sink) targets(e *event.Event, settings json.RawMessage) []sink.Destination {
	set, err := s.settings.get(settings)
	if err != nil { // the delivery will say so, and can be replayed
		return []sink.Destination{{Scope: sink.Instance, Target: singleTarget}}
	}
	var about about
	if set.looksInside {
		about = look(e.Data)
	}
	var out []sink.Destination
	for _, h := range set.hooks {
		if h.enabled && h.events.Has(e.Name) && h.filters.pass(about) {
			out = append(out, sink.Destination{Scope: sink.Instance, Target: h.order.lane(h.name, e, about)})
		}
	}
	return out
}

// settings are an instance's webhooks, ready to be called.
type settings struct {
	enabled     bool
	url         string // of the single form
	hooks       []*hook
	broken      map[string]error // webhooks that cannot be called, by name, and why
	looksInside bool             // a filter or an order wants to know what events are about
	chats       int              // of all filters
}

func parse(raw json.RawMessage) (*settings, error) {
	s, err := read(raw)
	if err != nil {
		return &settings{}, err
	}
	out := &settings{enabled: s.Enabled, url: s.URL, broken: map[string]error{}}
	if s.URL != "" {
		out.add(s.single())
	}
	for _, w := range s.Webhooks {
		w.Name = listPrefix + w.Name
		out.add(w)
	}
	return out, nil
}

// add keeps a broken webhook too: its deliveries fail with the reason instead of vanishing.
func (s *settings) add(w webhook) {
	h, err := newHook(w)
	if err != nil {
		s.broken[w.Name] = err
	}
	s.hooks = append(s.hooks, h)
	s.chats += w.Filters.size()
	s.looksInside = s.looksInside || h.filters != nil || h.order == ByChat
}

// Limits of a cache, in entries and in bytes, about; of a full one, entries by chance make room.
const (
	maxCached      = 4096
	maxCachedBytes = 16 << 20
	bytesPerChat   = 100 // of a filter, beside the settings
)

// cache spares reading an instance's settings for each event. Its key is the settings themselves, so it is never stale.
type cache struct {
	mu sync.RWMutex
	// mu guards the fields below.
	known map[string]cached
	bytes int
}

type cached struct {
	set   *settings
	err   error
	bytes int
}

// get never returns nil settings.
func (c *cache) get(raw json.RawMessage) (*settings, error) {
	c.mu.RLock()
	hit, ok := c.known[string(raw)]
	c.mu.RUnlock()
	if ok {
		return hit.set, hit.err
	}
	set, err := parse(raw)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]cached{}
	}
	if _, ok := c.known[string(raw)]; ok { // another goroutine was quicker
		return set, err
	}
	bytes := len(raw) + set.chats*bytesPerChat
	for key, other := range c.known {
		if len(c.known) < maxCached && c.bytes+bytes <= maxCachedBytes {
			break
		}
		delete(c.known, key)
		c.bytes -= other.bytes
	}
	c.known[string(raw)] = cached{set, err, bytes}
	c.bytes += bytes
	return set, err
}
