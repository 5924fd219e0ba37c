package websocket

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/core/sink/remote"
	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// refusals slow down clients that present wrong keys, and log which client was refused and what to do about
// it. Limits are per address. Any number of goroutines may use it at once.
type refusals struct {
	log   zerolog.Logger
	wrong remote.Limiter // wrong keys that are answered at once
	told  remote.Limiter // lines in the log
	late  chan struct{}  // a place for each answer that is held back
}

const (
	wrongBurst  = 10              // wrong keys of one address that are answered at once,
	wrongEvery  = 6 * time.Second // and how long until it may present one more
	wrongDelay  = time.Second     // how long the answer to any further one is held back,
	wrongPlaces = 1000            // if not so many are held back already
	toldBurst   = 3               // lines about one address,
	toldEvery   = time.Minute     // and how long until the next
)

func newRefusals(log zerolog.Logger) *refusals {
	return &refusals{
		log:   log,
		wrong: remote.Limiter{Rate: rate.Every(wrongEvery), Burst: wrongBurst},
		told:  remote.Limiter{Rate: rate.Every(toldEvery), Burst: toldBurst},
		late:  make(chan struct{}, wrongPlaces),
	}
}

// wrongKey returns the refusal of a wrong key, late if the client's address has presented too many. Right keys never
// come here, so that clients behind the same proxy or NAT are not shut out by another's attempts.
func (r *refusals) wrongKey(ctx context.Context, c remote.Client) error {
	if r.wrong.Allow(c) {
		return errKeyInvalid
	}
	select {
	case r.late <- struct{}{}:
		defer func() { <-r.late }()
	default:
		return errTooManyWrong
	}
	retry.Sleep(ctx.Done(), wrongDelay)
	return errTooManyWrong
}

// report logs that a client was refused: so many lines per address at info, the rest at debug. namespace is "" for a
// handshake.
func (r *refusals) report(c remote.Client, namespace string, err error) {
	line := r.log.Debug()
	if r.told.Allow(c) {
		line = r.log.Info()
	}
	if namespace != "" {
		line = line.Str("namespace", namespace)
	}
	if help := helpAbout(err); help != "" {
		line = line.Str("help", help)
	}
	line.Err(err).Stringer("remote", c).Msg("client refused")
}

// errRevision is for the log: clients get the protocol's own answer.
var errRevision = errors.New("the client speaks an old revision of the protocol (socket.io version 2)")

// helpAbout says what an operator can do about a refusal, "" where the refusal itself says it.
func helpAbout(err error) string {
	var keyless *keylessError
	var origin originError
	switch {
	case errors.As(err, &keyless):
		return "connect with auth {apikey: …}, or the query or header apikey; this client is not let in without a key because " + keyless.why.Error()
	case errors.Is(err, errKeyInvalid), errors.Is(err, errTooManyWrong):
		return "the key is neither AUTHENTICATION_API_KEY nor the token of an instance: compare it, or set a new token by POST /instance/token/{instance}"
	case errors.As(err, &origin):
		return fmt.Sprintf("add the page's origin, %.128q, to CORS_ORIGIN, or set WEBSOCKET_CHECK_ORIGIN=false", string(origin))
	case errors.Is(err, errRevision):
		return "set WEBSOCKET_ALLOW_EIO3=true to let clients of version 2 in, or update the client"
	}
	var refused *socketio.ConnectError
	if errors.As(err, &refused) && refused.Data != nil {
		return "raise WEBSOCKET_SOCKETS_EACH if the instance needs so many"
	}
	if refused != nil {
		return "there is no instance of that name (names are case-sensitive), or the key is another instance's token"
	}
	return ""
}

// An originError refuses a page of that origin. Its text is for the client.
type originError string

func (originError) Error() string { return "pages of this origin are not allowed here" }

// A keylessError refuses a client without a key. Its text is for the client, why for the log.
type keylessError struct{ why error }

func (*keylessError) Error() string { return "apiKey is required" }
