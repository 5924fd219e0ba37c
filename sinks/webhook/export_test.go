package webhook

import (
	"net"
	"net/netip"
	"time"
)

// What tests need to see or set.
var (
	WithoutMedia = withoutMedia
	Public       = func(s string) bool { return public(netip.MustParseAddr(s)) }
	UserAgent    = userAgent
)

// Allow reads exceptions to the guard.
func Allow(texts ...string) []Exception {
	out := make([]Exception, len(texts))
	for i, s := range texts {
		if err := out[i].UnmarshalText([]byte(s)); err != nil {
			panic(err)
		}
	}
	return out
}

// SetClock stops the sink's clock.
func (s *Sink) SetClock(at time.Time) { s.now = func() time.Time { return at } }

// SetResolver makes names mean what a test wants them to mean.
func (c *Config) SetResolver(r *net.Resolver) { c.resolver = r }

// Cached is how many settings are kept ready.
func (s *Sink) Cached() int { return len(s.settings.known) }
