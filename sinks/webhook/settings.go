package webhook

import (
	_ "embed" // for schema
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// schema of what an instance may set. What it cannot express, normalize checks.
//
//go:embed settings.schema.json
var schema json.RawMessage

// maxWebhooks bounds the list of an instance.
const maxWebhooks = 32

// stored is what is kept of an instance's webhooks: the row of Evolution API (evolution.md 5.4) for the single
// form, and behind it what is ours.
type stored struct {
	URL      string   `json:"url"`
	Headers  headers  `json:"headers"`
	Enabled  bool     `json:"enabled"` // of the single form and of the list
	Events   []string `json:"events"`  // of the single form and of the list together: the core looks here first
	ByEvents bool     `json:"webhookByEvents"`
	Base64   bool     `json:"webhookBase64"`
	options
	URLEvents []string  `json:"urlEvents,omitempty"` // those of the single form, when Events has more
	Webhooks  []webhook `json:"webhooks,omitempty"`
}

// webhook is one of the list.
type webhook struct {
	Name     string   `json:"name"` // part of the target: deliveries that wait follow it to another URL
	Enabled  bool     `json:"enabled"`
	URL      string   `json:"url"`
	Events   []string `json:"events"` // empty means all
	Headers  headers  `json:"headers"`
	ByEvents bool     `json:"byEvents"`
	Base64   bool     `json:"base64"`
	options
}

// options are what both forms have and Evolution API has not.
type options struct {
	Secrets []string `json:"secrets,omitempty"`
	Filters *filters `json:"filters,omitempty"`
	Order   Order    `json:"order,omitempty"`
	Format  Format   `json:"format,omitempty"`
	Gzip    bool     `json:"gzip,omitempty"`
}

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
	return json.Marshal(s)
}

// read decodes stored settings; nil gives those of an instance that set nothing.
func read(raw json.RawMessage) (*stored, error) {
	s := &stored{}
	if len(raw) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("read stored settings: %w", explain(err))
	}
	return s, nil
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
	if err := json.Unmarshal(block, &in); err != nil {
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
		list, err := entries(in.Webhooks)
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

// own are the events of the single form.
func (s *stored) own() []string {
	if s.URLEvents != nil {
		return s.URLEvents
	}
	return s.Events
}

// setEvents stores the events wanted for the single form, and beside them those of the list, so that the core lets both
// pass. previous were the single form's until now.
func (s *stored) setEvents(wanted, previous []string) error {
	was, err := json.Marshal(sink.Subscription{Enabled: s.Enabled, Events: previous})
	if err != nil {
		return err
	}
	s.Events, err = sink.NormalizeEvents(sink.Subscription{Enabled: s.Enabled, Events: wanted}, was)
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

// entries reads the list of webhooks.
func entries(raw []json.RawMessage) ([]webhook, error) {
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
		if err := json.Unmarshal(b, &in); err != nil {
			return nil, fmt.Errorf("webhooks[%d]: %w", i, explain(err))
		}
		w := in.webhook
		if w.Name == "" {
			w.Name = in.ID
		}
		if in.Secret != "" {
			w.Secrets = slices.Concat([]string{in.Secret}, w.Secrets)
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

// check reports everything that is wrong with s.
func (s *stored) check() error {
	var errs []error
	if s.URL != "" || s.Enabled && len(s.Webhooks) == 0 {
		errs = append(errs, s.single().check())
	}
	names := map[string]bool{}
	for i, w := range s.Webhooks {
		err := w.check()
		if names[w.Name] {
			err = errors.Join(err, fmt.Errorf("name %q is in the list twice", w.Name))
		}
		names[w.Name] = true
		errs = append(errs, under(fmt.Sprintf("webhooks[%d].", i), err))
	}
	return flat(errors.Join(errs...))
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// check reports everything that is wrong with w, by its keys.
func (w webhook) check() error {
	var errs []error
	if !nameForm.MatchString(w.Name) {
		errs = append(errs, fmt.Errorf("name %.80q: want 1 to 64 letters, digits, dots, - and _", w.Name))
	}
	for i, name := range w.Events {
		if !event.CheckSubscription(name) {
			errs = append(errs, fmt.Errorf("events[%d] is not one of enum values: %s", i, strings.Join(event.Settable(), ",")))
		}
	}
	if _, err := newHook(w); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// single is the single form as one of the list.
func (s *stored) single() webhook {
	return webhook{
		Name: singleTarget, Enabled: true, URL: s.URL, Events: s.own(), Headers: s.Headers,
		ByEvents: s.ByEvents, Base64: s.Base64, options: s.options,
	}
}

// under puts a prefix before each line of an error.
func under(prefix string, err error) error {
	if err == nil {
		return nil
	}
	return errors.New(prefix + strings.ReplaceAll(err.Error(), "\n", "\n"+prefix))
}

// flat is err on one line.
func flat(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// explain turns encoding/json's errors about types into words for a client.
func explain(err error) error {
	var mismatch *json.UnmarshalTypeError
	if !errors.As(err, &mismatch) {
		return err
	}
	field := embedded.Replace(mismatch.Field)
	if field == "" {
		field = "the block"
	}
	return fmt.Errorf("%s must not be %s", field, mismatch.Value)
}

// embedded takes the names of our types out of the paths of encoding/json.
var embedded = strings.NewReplacer("stored.", "", "webhook.", "", "options.", "")
