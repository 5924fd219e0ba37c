package httpapi

import (
	"log"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"github.com/evosink/evosink/core/sink/remote"
)

// unlisted tells the operator of reverse proxies that server.trusted_proxies does not list: all clients behind one share
// what a single address may do, and the first to meet a limit of it shuts out the others. A stranger can pretend to be
// one, so lines are rare. Any number of goroutines may use it at once.
type unlisted struct {
	log     *log.Logger
	perPeer *remote.Limiter
	all     *rate.Limiter
}

func newUnlisted(logger *log.Logger) unlisted {
	return unlisted{
		log: logger, perPeer: &remote.Limiter{Rate: rate.Every(24 * time.Hour), Burst: 1, Buckets: 1000},
		all: rate.NewLimiter(rate.Every(time.Minute), 3),
	}
}

// check looks at a request whose peer is no trusted proxy.
func (u unlisted) check(r *http.Request) {
	if len(r.Header["X-Forwarded-For"]) == 0 { // which every reverse proxy can send, and the only one that is understood here
		return
	}
	peer := remote.Resolve(r, nil)
	if u.all.Tokens() < 1 || !u.perPeer.Allow(peer) || !u.all.Allow() {
		return
	}
	u.log.Printf("requests from %s name another client in X-Forwarded-For, which is not believed: if that is your reverse proxy, list it in "+
		"SERVER_TRUSTED_PROXIES, or all its clients share the limits of one address", peer.Peer)
}
