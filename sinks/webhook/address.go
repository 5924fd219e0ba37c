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
	return strict(u), nil
}

// strict returns u with everything percent-encoded in path and query that may not stand there as it is (RFC 3986,
// section 3), and ' in the query, which browsers encode too. [url.Parse] lets all of it pass, and strict receivers
// answer 400.
func strict(u *url.URL) *url.URL {
	out := *u
	out.RawPath = percentEncoded(u.EscapedPath(), "-._~!$&'()*+,;=:@/")
	out.RawQuery = percentEncoded(u.RawQuery, "-._~!$&()*+,;=:@/?")
	return &out
}

// percentEncoded encodes every byte of s that is no letter, digit, one of allowed or part of an encoded byte.
func percentEncoded(s, allowed string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(allowed, c) >= 0,
			c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func isHex(c byte) bool { return strings.IndexByte("0123456789abcdefABCDEF", c) >= 0 }

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
