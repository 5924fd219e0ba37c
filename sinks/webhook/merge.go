package webhook

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// normalize turns what an instance sets into what is stored. A key that is absent keeps its value, as in Evolution API, so
// a client that knows only the single form leaves the list alone. Errors are for the caller.
func normalize(block, previous json.RawMessage) (json.RawMessage, error) {
	was, err := read(previous)
	if err != nil {
		was = &stored{} // what cannot be read cannot be kept
	}
	s, err := was.merge(block)
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", explain(err))
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	return encode(s)
}

// encode writes JSON with & in URLs as it is.
func encode(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// input is a block as clients write it: the stored form, with the names that Evolution API's requests have.
type input struct {
	*stored
	Events   []string          `json:"events"`
	ByEvents *bool             `json:"byEvents"`
	Base64   *bool             `json:"base64"`
	Secret   string            `json:"secret"`
	Webhooks []json.RawMessage `json:"webhooks"`
}

// merge returns s with what block sets.
func (s *stored) merge(block json.RawMessage) (*stored, error) {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(block, &given); err != nil {
		return nil, err
	}
	has := func(key string) bool { _, ok := given[key]; return ok }
	out := *s
	if has("secret") || has("secrets") {
		out.Secrets = nil
	}
	if has("filters") {
		out.Filters = nil // instead of being decoded into
	}
	own := s.own()
	out.Enabled, out.URLEvents = false, nil
	in := input{stored: &out}
	if err := event.Unmarshal(block, &in); err != nil {
		return nil, err
	}
	setIf(&out.ByEvents, in.ByEvents)
	setIf(&out.Base64, in.Base64)
	if in.Secret != "" {
		out.Secrets = slices.Concat([]string{in.Secret}, out.Secrets)
	}
	if out.URLEvents != nil {
		in.Events = out.URLEvents
	}
	if has("webhooks") {
		list, err := entries(in.Webhooks, s.Webhooks)
		if err != nil {
			return nil, err
		}
		out.Webhooks = list
	}
	out.complete()
	return &out, out.setEvents(in.Events, own)
}

func setIf(to, from *bool) {
	if from != nil {
		*to = *from
	}
}

// setEvents stores the events wanted for the single form, and beside them those of the list, so that the core lets both
// pass. A set without a list of events keeps the previous ones, which were the single form's until now, else gets all.
func (s *stored) setEvents(wanted, previous []string) (err error) {
	if wanted == nil && len(previous) > 0 {
		wanted = previous
	}
	s.Events, err = sink.NormalizeEvents(sink.Subscription{Enabled: s.Enabled, Events: wanted}, nil)
	s.URLEvents = nil
	if err != nil || len(s.Webhooks) == 0 {
		return err
	}
	var all []string
	if s.URL != "" {
		s.URLEvents, all = s.Events, s.Events
	}
	for _, w := range s.Webhooks {
		if len(w.Events) == 0 {
			all = event.Settable()
			break
		}
		all = slices.Concat(all, w.Events)
	}
	s.Events = unique(all)
	return nil
}

func unique(names []string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// entries reads the list of webhooks. One that mentions no secrets keeps those that it had: they are not shown, so
// clients cannot repeat them.
func entries(raw []json.RawMessage, previous []webhook) ([]webhook, error) {
	if len(raw) > maxWebhooks {
		return nil, fmt.Errorf("webhooks has %d entries, at most %d are allowed", len(raw), maxWebhooks)
	}
	out := make([]webhook, 0, len(raw))
	for i, b := range raw {
		in := struct {
			webhook
			ID     string `json:"id"`
			Secret string `json:"secret"`
		}{webhook: webhook{Enabled: true}}
		if err := event.Unmarshal(b, &in); err != nil {
			return nil, fmt.Errorf("webhooks[%d]: %w", i, explain(err))
		}
		w := in.webhook
		if w.Name == "" {
			w.Name = in.ID
		}
		if in.Secret != "" {
			w.Secrets = slices.Concat([]string{in.Secret}, w.Secrets)
		}
		if at := slices.IndexFunc(previous, func(p webhook) bool { return p.Name == w.Name }); at >= 0 && w.Secrets == nil {
			w.Secrets = previous[at].Secrets
		}
		out = append(out, w)
	}
	return out, nil
}

// complete gives empty values to what is null, and names to those of the list that have none: their
// place, or the next number that is free.
func (s *stored) complete() {
	if s.Headers == nil {
		s.Headers = headers{}
	}
	s.Webhooks = slices.Clone(s.Webhooks)
	for i := range s.Webhooks {
		w := &s.Webhooks[i]
		if w.Headers == nil {
			w.Headers = headers{}
		}
		if w.Events == nil {
			w.Events = []string{}
		}
		for n := i + 1; w.Name == ""; n++ {
			name := strconv.Itoa(n)
			if !slices.ContainsFunc(s.Webhooks, func(other webhook) bool { return other.Name == name }) {
				w.Name = name
			}
		}
	}
}
