package httpapi

import (
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/sink/remote"
)

// How many wrong keys one address may present: a burst that covers a deployment with an old key, then one per second.
const (
	wrongKeyBurst = 50
	wrongKeyRate  = 1
)

// logEvery is how often one address's wrong keys are a line in the log, and maxTallies for how many addresses.
const (
	logEvery   = time.Minute
	maxTallies = 10_000
)

// wrongKeys slows clients that present wrong keys, and logs them by address. Any number of goroutines may use it at
// once.
type wrongKeys struct {
	log     zerolog.Logger
	limiter remote.Limiter

	mu sync.Mutex
	// mu guards the fields below.
	tallies map[netip.Prefix]*tally
	swept   time.Time // when addresses were last forgotten
}

// A tally is what one address did since its last line in the log.
type tally struct {
	logged time.Time
	count  int
}

func newWrongKeys(log zerolog.Logger) *wrongKeys {
	return &wrongKeys{
		log: log, limiter: remote.Limiter{Rate: wrongKeyRate, Burst: wrongKeyBurst}, tallies: map[netip.Prefix]*tally{},
	}
}

// denied is the answer to a request whose keys open nothing: 401, or 429 once its address has presented too many that
// are wrong. A right key is not asked about here, so that tenants behind one address do not shut each other out.
func (a *API) denied(r *http.Request, keys ...string) *problem {
	if !slices.ContainsFunc(keys, func(key string) bool { return key != "" }) {
		return unauthorized()
	}
	client := remote.Resolve(r, a.proxies)
	a.wrongKeys.record(client)
	if !a.wrongKeys.limiter.Allow(client) {
		return tooMany("Too many wrong keys from the address " + client.String() + "; right ones are let in")
	}
	return unauthorized()
}

// record counts a wrong key, and logs the count of its address at most once per minute.
func (w *wrongKeys) record(client remote.Client) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	t := w.tallies[client.Bucket()]
	if t == nil {
		if len(w.tallies) >= maxTallies && now.Sub(w.swept) >= time.Second {
			w.forget(now)
		}
		if len(w.tallies) >= maxTallies {
			return
		}
		t = &tally{}
		w.tallies[client.Bucket()] = t
	}
	t.count++
	if now.Sub(t.logged) >= logEvery {
		w.log.Info().Stringer("address", client).Int("count", t.count).Msg("requests with a wrong key")
		t.logged, t.count = now, 0
	}
}

// forget removes the addresses that were logged more than a minute ago. Held: mu.
func (w *wrongKeys) forget(now time.Time) {
	w.swept = now
	for address, t := range w.tallies {
		if now.Sub(t.logged) >= logEvery {
			delete(w.tallies, address)
		}
	}
}
