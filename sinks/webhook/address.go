package webhook

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// maxURL bounds a URL, in bytes. Evolution API stores at most 500 characters.
const maxURL = 2048

// parseURL reads the address of a webhook. Its errors go on after the word "url".
func parseURL(s string) (*url.URL, error) {
	switch {
	case s == "":
		return nil, errors.New(`must not be empty; give an address like "https://app.example/hook"`)
	case len(s) > maxURL:
		return nil, fmt.Errorf("has %d bytes, at most %d are allowed", len(s), maxURL)
	case strings.ContainsFunc(s, func(r rune) bool { return r <= 0x20 || r == 0x7f }):
		return nil, errors.New("must not contain spaces or control characters")
	}
	u, err := url.Parse(s)
	if err != nil { // its text holds the URL, and that may hold a password
		return nil, errors.New(`is not a URL; give an address like "https://app.example/hook"`)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("must begin with http:// or https://")
	}
	if u.Hostname() == "" {
		return nil, errors.New(`names no host; give an address like "https://app.example/hook"`)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, errors.New("has no valid port: want 1 to 65535")
		}
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// withSuffix returns u with one more segment at the end of its path, before the query. A path
// that ends in a slash gets no second one.
func withSuffix(u *url.URL, segment string) *url.URL {
	out := *u
	out.Path = strings.TrimSuffix(u.Path, "/") + "/" + segment
	out.RawPath = strings.TrimSuffix(u.EscapedPath(), "/") + "/" + url.PathEscape(segment)
	return &out
}

// sameReceiver reports whether a redirect from one address to another stays with the receiver: on the same scheme,
// host and port, or on the same host from http to https on their usual ports.
func sameReceiver(from, to *url.URL) bool {
	if !strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	if from.Scheme == to.Scheme {
		return portOf(from) == portOf(to)
	}
	return from.Scheme == "http" && to.Scheme == "https" && portOf(from) == "80" && portOf(to) == "443"
}

func portOf(u *url.URL) string {
	switch port := u.Port(); {
	case port != "":
		return port
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// withoutUser returns a URL without user and password, and "" when it cannot tell them from the rest.
func withoutUser(s string) string {
	if !strings.Contains(s, "@") {
		return s
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return ""
	case u.User == nil:
		return s
	}
	u.User = nil
	return u.String()
}
