package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
)

// accepted is the answer to stored events.
type accepted struct {
	ID  string   `json:"id,omitempty"` // of a single event
	IDs []string `json:"ids"`
}

// postEvents is POST /events/{instance}.
func (a *API) postEvents(w http.ResponseWriter, r *http.Request) error {
	who, name, err := a.forInstance(r)
	if err != nil {
		return err
	}
	if err := event.ValidateInstance(name); err != nil {
		return badRequest(err.Error())
	}
	body, err := a.readBytes(w, r, &hold{who: who, known: true}, a.opts.Config.Server.MaxBodyBytes)
	if err != nil {
		return err
	}
	b, err := a.opts.Config.Events.decode(body, func(e *event.Event) error {
		if e.Instance != "" && e.Instance != name {
			return fmt.Errorf("instance %.80q differs from the one in the path, %.80q; leave it out", e.Instance, name)
		}
		e.Instance, e.Origin = name, "api"
		if err := a.may(e, who); err != nil {
			return err
		}
		if who.Global && e.ServerURL != "" {
			if err := event.ValidateServerURL(e.ServerURL); err != nil {
				return err
			}
		}
		a.complete(e, who)
		return nil
	})
	if err != nil {
		return err
	}
	if notice := a.unknownSink(b.events); notice != "" {
		w.Header().Set("Evosink-Notice", notice)
	}
	return a.accept(w, r, b.single, b.events)
}

// unknownSink returns a text about the last sink that events name and this build does not have; "" if it has them all.
// That is no error: an event that was written for a sink of another build is an event.
func (a *API) unknownSink(events []*event.Event) (notice string) {
	for _, e := range events {
		if len(e.Sinks) == 0 {
			continue
		}
		names := a.sinkNames()
		for _, s := range e.Sinks {
			if !slices.Contains(names, s) {
				notice = fmt.Sprintf("no sink is called %+.80q%s", s, a.didYouMean(s, names))
			}
		}
	}
	return notice
}

// accept emits events and answers with their ids.
func (a *API) accept(w http.ResponseWriter, r *http.Request, single bool, events []*event.Event) error {
	name := events[0].Instance // of all of them
	if err := a.rates.take(name, len(events)); err != nil {
		return err
	}
	_, known := a.opts.Registry.Get(name)
	err := a.emit(r.Context(), events...)
	if !known {
		if _, made := a.opts.Registry.Get(name); made {
			a.audit(r, "instance.create").Str("instance", name).Str("by", "event").Msg("an event has created its instance")
		}
	}
	if errors.Is(err, instances.ErrUnknown) {
		return noInstance(events[0].Instance)
	}
	if err != nil {
		return err
	}
	answer := accepted{IDs: make([]string, len(events))}
	for i, e := range events {
		answer.IDs[i] = e.ID
	}
	if single {
		answer.ID = events[0].ID
	}
	return writeJSON(w, http.StatusCreated, answer)
}

func (a *API) emit(ctx context.Context, events ...*event.Event) error {
	ctx, cancel := context.WithTimeout(ctx, a.opts.Config.Events.Timeout)
	defer cancel()
	return a.opts.Emitter.Emit(ctx, events...)
}

// errSystem refuses a name of the API itself, by an instance's token.
type errSystem string

func (e errSystem) Error() string {
	return string(e) + " is emitted by the API itself; an instance's token may not emit it, the global key may"
}

// maxAhead is how far ahead of now an instance's token may date an event. Evolution API writes its local clock as UTC,
// which is up to 14 hours ahead; a Kafka record dated far ahead would keep the other records of its topic from being
// deleted.
const maxAhead = 24 * time.Hour

// may reports why the caller must not emit an event. Consumers take what these say for the operator's word.
func (a *API) may(e *event.Event, who caller) error {
	switch {
	case who.Global:
		return nil
	case event.System(e.Name):
		return errSystem(e.Name)
	case time.Until(e.Time) > maxAhead:
		return fmt.Errorf("date_time %s is more than %s ahead", e.Time.Format(time.RFC3339), maxAhead)
	}
	return nil
}

// complete fills in what the server knows. By an instance's token server_url is the configured one, whatever the event
// says: consumers call it back with the API's key. And it sees to it that no key is in the event that must not be: a
// token only if consumers may see it, the global key and other instances' tokens never.
func (a *API) complete(e *event.Event, who caller) {
	if e.ServerURL == "" || !who.Global {
		e.ServerURL = a.opts.Config.Server.URL
	}
	if !a.opts.Config.Auth.ExposeInFetchInstances {
		e.APIKey = ""
		return
	}
	if who.token != "" {
		e.APIKey = who.token
	}
	holder, known := a.authenticate(e.APIKey)
	if foreign := known && (holder.Global || holder.Instance != e.Instance); foreign {
		e.APIKey = ""
	}
}

// emitSystem emits an event of evosink's own about an instance. ctx only lends its values: what the event tells of has
// happened.
func (a *API) emitSystem(ctx context.Context, name, instance, token string, data any) error {
	raw, err := marshal(data)
	if err != nil {
		return err
	}
	e := &event.Event{Name: name, Instance: instance, Origin: "evosink", ServerURL: a.opts.Config.Server.URL, Data: raw}
	if a.opts.Config.Auth.ExposeInFetchInstances {
		e.APIKey = token
	}
	return a.emit(context.WithoutCancel(ctx), e)
}
