package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/evosink/evosink/core/event"
)

// hook is a webhook ready to be called. It is immutable.
type hook struct {
	name     string
	enabled  bool
	url      *url.URL
	raw      string // the URL as its owner wrote it, which is what destination shows
	events   event.Filter
	header   http.Header
	host     string // of the Host header; "" is the URL's
	jwtKey   string
	byEvents bool
	base64   bool
	keys     [][]byte
	filters  *filter
	order    Order
	format   Format
	gzip     bool
}

// newHook reads a webhook of an instance. Its error names everything that is wrong, by the webhook's keys. The Host
// header is the URL's: with another one, an instance could choose among all that is served at an address which the
// operator may have opened to it for one host.
func newHook(w webhook) (*hook, error) {
	h, err := operatorsHook(w)
	if err == nil && h.host != "" && !strings.EqualFold(h.host, h.url.Host) && !strings.EqualFold(h.host, h.url.Hostname()+":"+portOf(h.url)) {
		err = fmt.Errorf("headers[%q] must be the URL's, %.80q: put the host into the URL, or leave the header out", "Host", h.url.Host)
	}
	h.host = ""
	return h, err
}

// operatorsHook reads a webhook of the operator.
func operatorsHook(w webhook) (*hook, error) {
	h := &hook{
		name: w.Name, enabled: w.Enabled, raw: w.URL, events: event.NewFilter(w.Events...),
		byEvents: w.ByEvents, base64: w.Base64, filters: w.Filters.compile(), order: w.Order, format: w.Format, gzip: w.Gzip,
	}
	var errs []error
	note := func(key string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s%w", key, err))
		}
	}
	var err error
	h.url, err = parseURL(w.URL)
	note("url ", err)
	note("headers", w.Headers.check())
	h.header, h.host, h.jwtKey = w.Headers.split()
	h.keys, err = signingKeys(w.Secrets)
	note("secrets", err)
	if w.Filters != nil {
		note("", w.Filters.check())
	}
	note("order ", w.Order.check())
	note("format ", w.Format.check())
	return h, errors.Join(errs...)
}

func signingKeys(secrets []string) ([][]byte, error) {
	if len(secrets) > maxSecrets {
		return nil, fmt.Errorf(" has %d entries, at most %d are allowed", len(secrets), maxSecrets)
	}
	var keys [][]byte
	for i, s := range secrets {
		key, err := signingKey(s)
		if err != nil {
			return nil, fmt.Errorf("[%d] %w", i, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (o Order) check() error {
	switch o {
	case "", ByInstance, ByChat, Unordered:
		return nil
	}
	return fmt.Errorf("%.40q: want instance, chat or none", o)
}

func (f Format) check() error {
	switch f {
	case "", Evolution, CloudEvents:
		return nil
	}
	return fmt.Errorf("%.40q: want evolution or cloudevents", f)
}

// address is where an event goes.
func (h *hook) address(e *event.Event) *url.URL {
	if !h.byEvents {
		return h.url
	}
	return withSuffix(h.url, event.PathSuffix(e.Name))
}
