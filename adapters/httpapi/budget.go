package httpapi

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/evosink/evosink/core/sink/remote"
	"github.com/evosink/evosink/core/uses"
)

// smallBody is the size in bytes up to which a body may use the eighth that every limit of a [budget] has on top, so
// that large bodies that arrive slowly do not shut out small ones.
const smallBody = 64 << 10

// A budget bounds the memory of request bodies under way, from their first byte until their answer: in all, for one
// key, for one address and for all senders without a key. Any number of goroutines may use it at once.
type budget struct {
	all     int64 // bytes; the holder of the global key may have them all
	share   int64 // bytes for one instance's token, and for one address
	keyless int64 // bytes for all senders of webhooks without a key

	lines  *rate.Limiter  // of the log, about all
	shares remote.Limiter // of the log, about one address

	mu sync.Mutex
	// mu guards the fields below.
	used        int64
	usedKeyless int64
	byInstance  uses.Counts[string, int64]
	byAddress   uses.Counts[netip.Prefix, int64]
}

func newBudget(c Config) *budget {
	all := c.Server.MaxBodiesBytes
	if all == 0 {
		all = 2 * c.Server.MaxBodyBytes
	}
	return &budget{
		all: all, share: max(all/2, c.Server.MaxBodyBytes), keyless: max(all/4, c.Events.MaxBytes),
		lines: rate.NewLimiter(rate.Every(time.Minute), 1), shares: remote.Limiter{Rate: rate.Every(time.Minute), Burst: 1},
		byInstance: uses.Counts[string, int64]{}, byAddress: uses.Counts[netip.Prefix, int64]{},
	}
}

// A hold is what one request has of a budget. It belongs to the request's goroutine.
type hold struct {
	budget *budget
	who    caller
	known  bool // the sender has a key
	client remote.Client
	bytes  int64
}

// grow sets what is held to n bytes, if that is more than before and there is room. A refusal says which limit is met.
func (h *hold) grow(n int64) error {
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	more := n - h.bytes
	if err := h.refusal(n, more); err != nil || more <= 0 {
		return err
	}
	h.add(more)
	return nil
}

// fits tells which limit a body of n bytes would meet now, without taking anything.
func (h *hold) fits(n int64) error {
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	return h.refusal(n, n-h.bytes)
}

// refusal tells why a body may not grow by more to n bytes. Held: mu.
func (h *hold) refusal(n, more int64) error {
	b := h.budget
	full := func(used, limit int64) bool {
		if n <= smallBody {
			limit += limit / 8
		}
		return used+more > limit
	}
	switch {
	case h.known && h.who.Global:
	case h.known && full(b.byInstance[h.who.Instance], b.share):
		return bodiesFull(http.StatusTooManyRequests, "Requests with the token of this instance", b.share)
	case !h.known && full(b.usedKeyless, b.keyless):
		return bodiesFull(http.StatusTooManyRequests,
			"Webhooks without a key in their URL (?apikey=...) or header", b.keyless)
	case full(b.byAddress[h.client.Bucket()], b.share):
		return bodiesFull(http.StatusTooManyRequests, "Requests from the address "+h.client.String()+
			" (if it is a reverse proxy's, SERVER_TRUSTED_PROXIES must list it)", b.share)
	}
	if full(b.used, b.all) {
		return bodiesFull(http.StatusServiceUnavailable, "All requests", b.all)
	}
	return nil
}

func bodiesFull(status int, of string, limit int64) *problem {
	const format = "%s may have %d bytes of bodies under way at once (server.max_bodies_bytes); " +
		"wait for the answers to some, then try again"
	return &problem{status: status, message: []string{fmt.Sprintf(format, of, limit)}, retryAfter: time.Second}
}

// release gives everything back.
func (h *hold) release() {
	if h == nil || h.bytes == 0 {
		return
	}
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	h.add(-h.bytes)
}

// add counts bytes wherever they count. Held: mu.
func (h *hold) add(bytes int64) {
	b := h.budget
	h.bytes += bytes
	b.used += bytes
	if h.known && h.who.Global {
		return
	}
	if h.known {
		b.byInstance.Add(h.who.Instance, bytes)
	} else {
		b.usedKeyless += bytes
	}
	b.byAddress.Add(h.client.Bucket(), bytes)
}
