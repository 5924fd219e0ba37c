package webhook

import (
	_ "embed" // for schema
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/evosink/evosink/core/event"
)

// schema of what an instance may set. What it cannot express, normalize checks.
//
//go:embed settings.schema.json
var schema json.RawMessage

// maxWebhooks bounds the list of an instance.
const maxWebhooks = 32

// stored is what is kept of an instance's webhooks: the row of Evolution API for the single
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

// created is what POST /instance/create answers about the sink.
func created(raw json.RawMessage) json.RawMessage {
	s, err := read(raw)
	if err != nil {
		s = &stored{} // was stored a moment ago
	}
	out, _ := encode(struct { // plain fields always encode
		URL      string  `json:"webhookUrl"`
		Headers  headers `json:"webhookHeaders"`
		ByEvents bool    `json:"webhookByEvents"`
		Base64   bool    `json:"webhookBase64"`
	}{s.URL, s.Headers, s.ByEvents, s.Base64})
	return out
}

// own are the events of the single form, nil if there is none.
func (s *stored) own() []string {
	if len(s.Webhooks) > 0 && (s.URLEvents != nil || s.URL == "") {
		return s.URLEvents
	}
	return s.Events
}

// check reports everything that is wrong with s.
func (s *stored) check() error {
	var errs []error
	if s.URL != "" || s.Enabled && len(s.Webhooks) == 0 {
		errs = append(errs, s.single().check())
	}
	chats := s.Filters.size()
	for _, w := range s.Webhooks {
		chats += w.Filters.size()
	}
	if chats > maxAllChats {
		errs = append(errs, fmt.Errorf("filters.chats: the lists have %d entries in all, at most %d are allowed", chats, maxAllChats))
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
	return errors.Join(errs...)
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

// permit reports which of an instance's webhooks cannot be called under a configuration, as far as their URLs tell:
// what a name means is seen when it is dialled. A webhook that is off may have any URL, so that it can be switched off.
func permit(c *Config, raw json.RawMessage) error {
	s, err := read(raw)
	if err != nil || !s.Enabled {
		return err
	}
	var errs []error
	if s.URL != "" {
		errs = append(errs, c.permits(s.URL))
	}
	for i, w := range s.Webhooks {
		if w.Enabled {
			errs = append(errs, under(fmt.Sprintf("webhooks[%d].", i), c.permits(w.URL)))
		}
	}
	return errors.Join(errs...)
}

// permits reports why instances may not have a URL that is valid.
func (c *Config) permits(s string) error {
	u, err := parseURL(s)
	switch {
	case err != nil:
		return fmt.Errorf("url %w", err)
	case c.Server.takes(u):
		return errors.New("url names this server: each event would come back as a new one; give the address of the receiver")
	case !c.guarded() || c.Guard.allowsHost(net.JoinHostPort(u.Hostname(), portOf(u))):
		return nil
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if host := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."); host == "localhost" || strings.HasSuffix(host, ".localhost") {
		addr, err = netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	if err != nil { // a name
		return nil
	}
	port, _ := strconv.ParseUint(portOf(u), 10, 16) // checked by parseURL
	if err := c.Guard.check(addr, uint16(port)); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	return nil
}

// under puts a prefix before each line of an error.
func under(prefix string, err error) error {
	if err == nil {
		return nil
	}
	return errors.New(prefix + strings.ReplaceAll(err.Error(), "\n", "\n"+prefix))
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
