package websocket

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/time/rate"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/remote"
	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// Refusals in Evolution API's words (evolution.md 4.2).
var (
	errKeyRequired = errors.New("apiKey is required")
	errKeyInvalid  = errors.New("Invalid global token") //nolint:staticcheck // clients compare this text
)

// A visitor is what is kept of a connection's first request: enough to decide, at every CONNECT,
// which namespaces it opens.
type visitor struct {
	key   string // as presented at the handshake, "" if none
	local bool   // comes from an allowed host and not through a proxy: needs no key

	commands *rate.Limiter // made with the first command
}

// access decides who may join which namespace.
type access struct {
	directory sink.Directory
	allowed   remote.Networks
	proxies   remote.Networks
}

// visit takes what [access.principal] needs from a connection's first request.
func (a *access) visit(r *http.Request) any {
	client := remote.Resolve(r, a.proxies)
	return &visitor{key: requestKey(r), local: client.Known() && a.allowed.Contains(client.Addr)}
}

// admit refuses a handshake that presents a wrong key. One without a key passes: the key may
// come with the CONNECT of a namespace.
func (a *access) admit(r *http.Request) error {
	key := requestKey(r)
	if key == "" {
		return nil
	}
	if _, ok := a.directory.Authenticate(key); !ok {
		return errKeyInvalid
	}
	return nil
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
	for i, name := range a.Events {
		if strings.EqualFold(name, "ALL") {
			a.Events[i] = "ALL"
		} else if !event.CheckSubscription(name) {
			return a, fmt.Errorf("auth.events: %.128q is no event", name)
		}
	}
	return a, nil
}

// A holder is who wants to join, and by which key; "" if none was needed.
type holder struct {
	sink.Principal
	key string
}

// principal tells who wants to join. A key that is given decides, also for a client that would need none; the key
// of the CONNECT comes before that of the handshake.
func (a *access) principal(v *visitor, given auth) (holder, error) {
	key := v.key
	for _, k := range []string{given.Token, given.APIKey} {
		if k != "" {
			key = k
		}
	}
	switch {
	case key != "":
		p, ok := a.directory.Authenticate(key)
		if !ok {
			return holder{}, errKeyInvalid
		}
		return holder{p, key}, nil
	case v.local:
		return holder{sink.Principal{Global: true}, ""}, nil
	}
	return holder{}, errKeyRequired
}

// enter decides whether the principal may join the namespace. Namespaces that do not exist and those that are not
// its own are refused alike.
func (a *access) enter(p sink.Principal, namespace string) error {
	instance := instanceOf(namespace)
	if instance == "" {
		if !p.Global {
			return socketio.ErrInvalidNamespace()
		}
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
