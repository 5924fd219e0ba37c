package websocket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/time/rate"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/remote"
	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// Refusals. The first is in the words of Evolution API, as is that of a [keylessError]: clients compare them.
var (
	errKeyInvalid   = errors.New("Invalid global token") //nolint:staticcheck // clients compare this text
	errTooManyWrong = errors.New("too many wrong keys came from this address; a right one is still taken")
)

// A handshake is what is kept of the first request of a connection: enough to decide, at every CONNECT,
// which namespaces it opens.
type handshake struct {
	client remote.Client
	key    string // as presented at the handshake, "" if none
	needs  error  // why it needs a key, nil if it needs none

	mu sync.Mutex // held while a key of the client is looked up: one at a time per connection
	// mu guards the field below.
	wrong int // keys that the client presented at CONNECT and that open nothing

	commands *rate.Limiter // made with the first command
}

// maxWrong is how many wrong keys one connection may present; afterwards its keys are not even looked up.
const maxWrong = 10

// access decides which clients may join which namespace.
type access struct {
	directory sink.Directory
	keyless   keyless
	proxies   remote.Networks
	origins   []string // of pages that may connect at all, unless
	anyOrigin bool
	eio3      bool
	refusals  *refusals
}

func newAccess(c Config, h sink.Host) access {
	a := access{directory: h.Directory, eio3: c.EIO3, refusals: newRefusals(h.Logger)}
	a.keyless, _ = parseHosts(c.AllowedHosts) // checked by Validate
	a.proxies, _ = remote.ParseNetworks(c.TrustedProxies)
	if len(c.AllowedHosts) == 0 && c.LocalKeyless {
		a.keyless.networks = loopbackOnly
	}
	a.keyless.origins = c.Origins
	a.origins, a.anyOrigin = c.Origins, !c.CheckOrigin || slices.Contains(c.Origins, "*")
	switch {
	case len(a.keyless.networks) == 0:
	case c.LocalKeyless:
		h.Logger.Info().Msg("clients on this machine need no key, because there is no AUTHENTICATION_API_KEY. Set one before a reverse proxy or " +
			"tunnel leads here: all clients on its other side could look like clients on this machine")
	default:
		h.Logger.Warn().Strs("allowed_hosts", c.AllowedHosts).Msg("clients at WEBSOCKET_ALLOWED_HOSTS need no key; clients of a tunnel, " +
			"port forwarding or reverse proxy at such an address may look the same. WEBSOCKET_ALLOWED_HOSTS=none asks every client for a key")
	}
	return a
}

// attach keeps what [access.principal] needs from a connection's first request.
func (a *access) attach(r *http.Request) any {
	client := remote.Resolve(r, a.proxies)
	return &handshake{client: client, key: strings.Clone(requestKey(r)), needs: a.keyless.check(r, client)}
}

// site tells clients apart by their addresses.
func (a *access) site(r *http.Request) any { return remote.Resolve(r, a.proxies).Bucket() }

// allowRequest refuses a handshake from a page that may not connect, and one that presents a wrong key. One without a key
// passes: the key may come with the CONNECT of a namespace.
func (a *access) allowRequest(r *http.Request) error {
	client := remote.Resolve(r, a.proxies)
	err := a.checkRequest(r, client)
	if err != nil {
		a.refusals.report(client, "", err)
	} else if eio := r.URL.Query()["EIO"]; !a.eio3 && (len(eio) == 0 || eio[len(eio)-1] != "4") {
		a.refusals.report(client, "", errRevision) // by the server, in the protocol's words
	}
	return err
}

func (a *access) checkRequest(r *http.Request, client remote.Client) error {
	if origin := a.foreignOrigin(r); origin != "" {
		return originError(origin)
	}
	key := requestKey(r)
	if key == "" {
		return nil
	}
	if _, ok := a.authenticate(r.Context(), client, key); !ok {
		return a.refusals.wrongKey(r.Context(), client)
	}
	return nil
}

// authenticate tells what a client's key opens. For one that is unknown it waits once until the directory has caught up
// with other nodes, where it may have been made a moment ago.
func (a *access) authenticate(ctx context.Context, client remote.Client, key string) (sink.Principal, bool) {
	p, ok := a.directory.Authenticate(key)
	if !ok {
		a.directory.Recheck(ctx, client.Bucket().String(), key)
		p, ok = a.directory.Authenticate(key)
	}
	return p, ok
}

// foreignOrigin returns the origin of a page that may not connect. It is "" if the request comes from no page, from one
// of this server, or from one that is allowed.
func (a *access) foreignOrigin(r *http.Request) string {
	if a.anyOrigin {
		return ""
	}
	for _, origin := range r.Header["Origin"] {
		_, host, _ := strings.Cut(origin, "://")
		if !slices.Contains(a.origins, origin) && !strings.EqualFold(host, r.Host) {
			return origin
		}
	}
	return ""
}

// requestKey returns the key of a request: header apikey, Authorization: Bearer, or query apikey.
func requestKey(r *http.Request) string {
	if key := r.Header.Get("apikey"); key != "" {
		return key
	}
	if scheme, key, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(key)
	}
	return r.URL.Query().Get("apikey")
}

// credentials are the key of a joining client, "" if it needs none, and what that opens.
type credentials struct {
	sink.Principal
	key string
}

// principal tells what a joining client may do. A key that is given decides, also for a client that would need none;
// the key of the CONNECT comes before that of the handshake.
func (a *access) principal(ctx context.Context, h *handshake, given auth) (credentials, error) {
	key := h.key
	for _, k := range []string{given.Token, given.APIKey} {
		if k != "" {
			key = k
		}
	}
	switch {
	case key != "":
		p, err := a.lookUp(ctx, h, key)
		if errors.Is(err, errKeyInvalid) {
			err = a.refusals.wrongKey(ctx, h.client)
		}
		return credentials{p, key}, err
	case h.needs == nil:
		return credentials{sink.Principal{Global: true}, ""}, nil
	}
	return credentials{}, &keylessError{h.needs}
}

// lookUp authenticates a key of a connection, unless that has presented too many wrong ones.
func (a *access) lookUp(ctx context.Context, h *handshake, key string) (sink.Principal, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wrong >= maxWrong {
		return sink.Principal{}, errTooManyWrong
	}
	p, ok := a.authenticate(ctx, h.client, key)
	if !ok {
		h.wrong++
		return sink.Principal{}, errKeyInvalid
	}
	return p, nil
}

// mayJoin returns nil if the principal may join the namespace, else the refusal. Namespaces that do not exist and those that are not
// its own are refused alike. A token may join / too, where it gets no events: see [socketState.silent].
func (a *access) mayJoin(p sink.Principal, namespace string) error {
	instance := instanceOf(namespace)
	if instance == "" {
		return nil
	}
	settings, exists := a.directory.Lookup(instance)
	if !exists || !p.May(instance) {
		return socketio.ErrInvalidNamespace()
	}
	if s, err := sink.ParseSubscription(settings); err != nil || !s.Enabled {
		return fmt.Errorf("the websocket of instance %q is not enabled: POST /websocket/set/%s first", instance, instance)
	}
	return nil
}

// root is the global namespace.
const root = "/"

// instanceOf returns the instance whose namespace it is, "" for the global one.
func instanceOf(namespace string) string { return strings.TrimPrefix(namespace, root) }

// namespaceOf returns the namespace of a delivery.
func namespaceOf(d *sink.Delivery) string {
	if d.Scope == sink.Global {
		return root
	}
	return root + d.Event.Instance
}
