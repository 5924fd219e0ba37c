package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// jwtKey is the header that is not sent, but signs a token, as in Evolution API.
const jwtKey = "jwt_key"

// Limits of the headers of a webhook.
const (
	maxHeaders     = 64
	maxHeaderBytes = 16 << 10
)

// headers are those that a webhook's owner wants to be sent. A number or a bool in JSON
// becomes text, as in Evolution API; null is no header.
type headers map[string]string

// UnmarshalJSON replaces what was there.
func (h *headers) UnmarshalJSON(b []byte) error {
	var raw map[string]any
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	if err := d.Decode(&raw); err != nil {
		return err
	}
	out := make(headers, len(raw))
	for name, value := range raw {
		switch v := value.(type) {
		case nil:
		case string, bool, json.Number:
			out[name] = fmt.Sprint(v)
		default:
			return fmt.Errorf("headers[%q] must be text, a number or a bool", name)
		}
	}
	*h = out
	return nil
}

// check reports what cannot be sent. Its errors go on after the word "headers". Values are never shown.
func (h headers) check() error {
	if len(h) > maxHeaders {
		return fmt.Errorf(" has %d entries, at most %d are allowed", len(h), maxHeaders)
	}
	var errs []error
	size := 0
	for _, name := range slices.Sorted(maps.Keys(h)) {
		size += len(name) + len(h[name])
		if !isToken(name) {
			errs = append(errs, fmt.Errorf("[%.60q] is not a name of a header: want letters, digits and -", name))
		}
		if err := headerValue(h[name]); err != nil {
			errs = append(errs, fmt.Errorf("[%.60q] %w", name, err))
		}
		if http.CanonicalHeaderKey(name) == "Host" && !isHost(h[name]) {
			errs = append(errs, fmt.Errorf("[%q] must be a host, with or without a port", name))
		}
	}
	if size > maxHeaderBytes {
		errs = append(errs, fmt.Errorf(" has %d bytes, at most %d are allowed", size, maxHeaderBytes))
	}
	return errors.Join(errs...)
}

// isToken reports whether s may name a header (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}

func isHost(s string) bool {
	u, err := url.Parse("http://" + s)
	return err == nil && u.Host == s && u.Hostname() != ""
}

// headerValue refuses what would end the header and begin another (RFC 9110, section 5.5).
func headerValue(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return errors.New("must not contain line breaks or other control characters")
	}
	return nil
}

// notSent are headers that belong to one connection or to the framing of the body (RFC 9110, section 7.6.1), by canonical name.
var notSent = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Content-Length", "Content-Encoding", "Host",
}

// split returns the headers to send as they are, the host to ask for ("" is the URL's) and the key that signs tokens.
func (h headers) split() (send http.Header, host, key string) {
	send = make(http.Header, len(h))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case name == jwtKey:
			key = h[name]
		case canonical == "Host":
			host = h[name]
		case !slices.Contains(notSent, canonical):
			send.Set(name, h[name])
		}
	}
	return send, host, key
}
