package evolution

import (
	"fmt"

	"github.com/evosink/evosink/core/event"
)

// noKey is what Evolution API writes for an instance without a token.
const noKey = "Apikey not found"

// DecodeAPI reads the body of an Evolution API webhook, global or of an instance, by-events or not: the path's suffix
// only repeats the event's name. Keys that evosink does not know become [event.Event.Extras], "isLatest" and "progress"
// of messages.set for example; "destination" is left out. A server_url that is no URL ("localhost:8080", as SERVER_URL
// may say) is left out too: no consumer could call it back.
//
// The error webhook belongs to no instance; its event comes back without one, and without the global
// key of the server that is in its body. It is for the caller to drop. Any other event still needs
// [event.Event.Validate]. Errors wrap [event.ErrInvalid].
func DecodeAPI(body []byte) (*event.Event, error) {
	e, err := event.Decode(body)
	if err != nil {
		return nil, err
	}
	if e.Instance == "" && e.Name != "error" {
		return nil, fmt.Errorf(`%w: "instance" is missing: this is not the body of an Evolution API webhook`, event.ErrInvalid)
	}
	e.Origin = "evolution"
	if event.ValidateServerURL(e.ServerURL) != nil {
		e.ServerURL = ""
	}
	if e.APIKey == noKey {
		e.APIKey = ""
	}
	if e.ID == "" {
		e.ID = identity(e)
	}
	return e, nil
}
