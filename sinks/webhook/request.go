package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// request is what one attempt sends, to its first address and to where that redirects.
type request struct {
	address *url.URL
	host    string
	header  http.Header
	body    []byte
}

// request writes a delivery for h. Its errors are permanent.
func (s *Sink) request(h *hook, d *sink.Delivery) (*request, error) {
	if err := errors.Join(headerValue(d.Key), headerValue(d.Event.ID)); err != nil {
		return nil, fmt.Errorf("the event's id %w", err)
	}
	body := h.envelope(s.codec, d.Event, s.destination(h, d))
	if int64(len(body)) > s.config.MaxBodyBytes {
		return nil, fmt.Errorf("the body has %d bytes, max_body_bytes is %d", len(body), s.config.MaxBodyBytes)
	}
	r := &request{address: h.address(d.Event), host: h.host, header: s.header(h, d), body: body}
	now := s.now()
	if len(h.keys) > 0 {
		sign(r.header, h.keys, sink.Identity(d.Event), now, body)
	}
	if h.jwtKey != "" {
		token, err := bearer(h.jwtKey, now)
		if err != nil {
			return nil, err
		}
		r.header.Set("Authorization", token)
	}
	if h.gzip {
		var err error
		if r.body, err = compressed(body); err != nil {
			return nil, fmt.Errorf("compress the body: %w", err)
		}
		r.header.Set("Content-Encoding", "gzip")
	}
	return r, nil
}

// header is what is sent beside signature and token: the webhook's own headers over the usual ones, and over both what
// tells deliveries apart.
func (s *Sink) header(h *hook, d *sink.Delivery) http.Header {
	header := make(http.Header, len(h.header)+12)
	header.Set("Content-Type", h.format.contentType())
	header.Set("Accept", "application/json, text/plain, */*")
	header.Set("User-Agent", s.config.UserAgent)
	for name, values := range h.header {
		header[name] = values
	}
	header.Set("Idempotency-Key", d.Key)
	header.Set("X-Event-Id", d.Event.ID)
	header.Set("X-Attempt", strconv.Itoa(d.Attempt))
	return header
}

// destination is what the envelope shows as such: the instance's URL, in the global webhook too,
// and for an instance without one the global URL with the event behind it. It is without user and password.
func (s *Sink) destination(h *hook, d *sink.Delivery) string {
	if h != s.global {
		return withoutUser(h.raw)
	}
	if set, _ := s.settings.get(d.Settings); set.url != "" {
		return withoutUser(set.url)
	}
	bySuffix := *h
	bySuffix.byEvents = true
	return withoutUser(bySuffix.address(d.Event).String())
}

// http makes the request of one hop. It shares the header, which a transport only reads.
func (r *request) http(ctx context.Context, to *url.URL) (*http.Request, error) {
	out, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to.Host, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	target := *to
	target.User = nil
	out.URL, out.Header = &target, r.header
	if r.host != "" {
		out.Host = r.host
	}
	if u := to.User; u != nil && out.Header.Get("Authorization") == "" {
		password, _ := u.Password()
		out.Header = r.header.Clone()
		out.SetBasicAuth(u.Username(), password)
	}
	return out, nil
}

// module is how this project is called where it is a dependency.
const module = "github.com/evosink/evosink"

// userAgent is evosink/<version>, as the go command stamped it.
func userAgent() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "evosink"
	}
	version := ""
	if info.Main.Path == module {
		version = info.Main.Version
	}
	for _, dep := range info.Deps {
		if dep.Path == module {
			version = dep.Version
		}
	}
	if version == "" || version == "(devel)" {
		version = "devel"
	}
	return "evosink/" + version
}

// clock is time.Now, but for golden tests.
type clock func() time.Time
