package httpapi

import (
	"net/http"
	"strings"

	"github.com/evosink/evosink/core/event"
)

// ingest takes webhooks of one product. Sender and receiver cannot talk about errors, so the status alone must do: 4xx for what
// no repetition cures, 429 and 503 for what one does. Both products repeat on those.
func (a *API) ingest(decode Decoder) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		e, who, err := a.receive(w, r, decode)
		if err != nil {
			return err
		}
		if e.Instance == "" {
			return writeJSON(w, http.StatusOK, ignored{IDs: []string{}, Ignored: "the event belongs to no instance"})
		}
		if !who.May(e.Instance) {
			return unauthorized()
		}
		if err := a.may(e, who); err != nil {
			return err
		}
		a.complete(e, who)
		if err := e.Validate(); err != nil {
			return err
		}
		return a.accept(w, r, true, []*event.Event{e})
	}
}

// receive reads a webhook of a sender who has a key, in the request or, as a last resort, in the body.
func (a *API) receive(w http.ResponseWriter, r *http.Request, decode Decoder) (*event.Event, caller, error) {
	who, known := a.authenticate(ingestKeys(r)...)
	if !known {
		done, ok := a.enterKeyless()
		if !ok {
			return nil, who, tooMany("Too many webhooks without a key at once; give the key in the URL: ?apikey=...")
		}
		defer done()
	}
	body, err := a.readBody(w, r, a.opts.Config.Events.MaxBytes)
	if err != nil {
		return nil, who, err
	}
	e, err := decode(body)
	if !known && err == nil {
		who, known = a.authenticate(e.APIKey)
		known = known && !who.Global
	}
	if !known {
		return nil, who, unauthorized()
	}
	return e, who, err
}

// ignored is the answer to an event that is fine but has nowhere to go.
type ignored struct {
	IDs     []string `json:"ids"`
	Ignored string   `json:"ignored"`
}

// enterKeyless takes a place among the senders without a key of their own; done gives it back.
func (a *API) enterKeyless() (done func(), ok bool) {
	select {
	case a.keyless <- struct{}{}:
		return func() { <-a.keyless }, true
	default:
		return nil, false
	}
}

// ingestKeys returns the keys in a request's header and in its query. Evolution API appends the by-events suffix to the
// whole URL, query included ("?apikey=KEY/messages-upsert", evolution.md 3.2), so a key there may end at its last slash.
func ingestKeys(r *http.Request) []string {
	key := r.URL.Query().Get("apikey")
	keys := append(headerKeys(r), key)
	if i := strings.LastIndexByte(key, '/'); i > 0 {
		keys = append(keys, key[:i])
	}
	return keys
}
