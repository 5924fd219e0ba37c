package httpapi

import (
	"net/http"
	"strings"

	"github.com/evosink/evosink/core/event"
)

// ingest takes webhooks of one product. Sender and receiver cannot talk about errors, so the status alone must do: 4xx
// for what no repetition cures, 429 and 503 for what one does. Both products repeat on those.
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

// receive reads a webhook with a key, in the request or, as a last resort, in the body.
func (a *API) receive(w http.ResponseWriter, r *http.Request, decode Decoder) (*event.Event, caller, error) {
	keys := ingestKeys(r)
	who, known := a.identify(r, keys...)
	if !known {
		return a.receiveKeyless(w, r, decode, keys)
	}
	body, err := a.readBody(w, r, who, a.opts.Config.Events.MaxBytes)
	if err != nil {
		return nil, who, err
	}
	e, err := decode(body)
	return e, who, err
}

// receiveKeyless reads a webhook whose key is in its body. Only when that is there does it take one of the few places
// to be decoded, so that senders that are slow shut out no others.
func (a *API) receiveKeyless(w http.ResponseWriter, r *http.Request, decode Decoder, wrong []string) (*event.Event, caller, error) {
	body, err := a.readStranger(w, r, a.opts.Config.Events.MaxBytes)
	if err != nil {
		return nil, caller{}, err
	}
	select {
	case a.keyless <- struct{}{}:
	case <-r.Context().Done():
		return nil, caller{}, r.Context().Err()
	}
	defer func() { <-a.keyless }()
	e, err := decode(body)
	if err != nil {
		return nil, caller{}, a.denied(r, wrong...)
	}
	who, known := a.identify(r, e.APIKey)
	if !known || who.Global {
		return nil, who, a.denied(r, append(wrong, e.APIKey)...)
	}
	return e, who, nil
}

// ignored is the answer to an event that is fine but has nowhere to go.
type ignored struct {
	IDs     []string `json:"ids"`
	Ignored string   `json:"ignored"`
}

// ingestKeys returns the keys in a request's header and in its query. Evolution API appends the by-events suffix to the
// whole URL, query included ("?apikey=KEY/messages-upsert"), so a key there may end at its last
// slash.
func ingestKeys(r *http.Request) []string {
	key := r.URL.Query().Get("apikey")
	keys := append(headerKeys(r), key)
	if i := strings.LastIndexByte(key, '/'); i > 0 {
		keys = append(keys, key[:i])
	}
	return keys
}
