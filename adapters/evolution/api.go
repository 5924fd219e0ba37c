package evolution

import (
	"errors"
	"fmt"

	"github.com/evosink/evosink/core/event"
)

// ErrNoInstance says that an event belongs to no instance and so has nowhere to go: Evolution API's
// error webhook (evolution.md 3.9), which also carries the global key of its server. It is for the caller to drop.
var ErrNoInstance = errors.New("the event belongs to no instance")

// noKey is what Evolution API writes for an instance without a token.
const noKey = "Apikey not found"

// DecodeAPI reads the body of an Evolution API webhook, global or of an instance, by-events or not: the
// path's suffix only repeats the event's name. Keys that only webhooks have ("destination") are left out. The event still
// needs [event.Event.Validate]. Errors wrap [event.ErrInvalid] or are [ErrNoInstance].
func DecodeAPI(body []byte) (*event.Event, error) {
	e, err := event.Decode(body)
	if err != nil {
		return nil, err
	}
	switch {
	case e.Instance != "":
	case e.Name == "error":
		return nil, ErrNoInstance
	default:
		return nil, fmt.Errorf(`%w: "instance" is missing: this is not the body of an Evolution API webhook`, event.ErrInvalid)
	}
	e.Origin = "evolution"
	if e.APIKey == noKey {
		e.APIKey = ""
	}
	if e.ID == "" {
		e.ID = identity(e)
	}
	return e, nil
}
