package config

import (
	"regexp"
	"strings"
)

var (
	// secretName tells by its name that an entry of a free-form map is a secret (engineering.md,
	// section 6). Typed keys say so by their type instead.
	secretName = regexp.MustCompile(`(?i)key|token|secret|passw|pwd|dsn|credential|authorization|cookie`)
	// userinfo reaches from the scheme to the last @: a password whose owner did not escape it may hold any
	// character, so this takes too much rather than too little.
	userinfo = regexp.MustCompile(`(?s)([A-Za-z][A-Za-z0-9+.-]*://).*@`)
	// secretParameter is a query parameter with a name like secretName's.
	secretParameter = regexp.MustCompile(`(?i)([?&;][^=&;#\s]*(?:key|token|secret|passw|pwd|credential|signature)[^=&;#\s]*=)([^&;#\s]+)`)
)

// redactText takes the credentials out of a URL, and leaves other text as it is.
func redactText(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	s = userinfo.ReplaceAllString(s, "${1}"+redacted+"@")
	return secretParameter.ReplaceAllString(s, "${1}"+redacted)
}

// isRedacted reports that a text is one we printed, not one that somebody chose.
func isRedacted(s string) bool {
	if s == redacted || strings.Contains(s, "://"+redacted+"@") {
		return true
	}
	for _, p := range secretParameter.FindAllStringSubmatch(s, -1) {
		if p[2] == redacted && strings.Contains(s, "://") {
			return true
		}
	}
	return false
}

// redactTree returns a copy of a free-form value without its secrets: what stands under a
// name like secretName's, at any depth, and credentials in URLs.
func redactTree(v any, secret bool) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = redactTree(e, secret || secretName.MatchString(k))
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = redactTree(e, secret)
		}
		return out
	case string:
		if secret && v != "" {
			return redacted
		}
		return redactText(v)
	case nil, bool:
		return v
	}
	if secret {
		return redacted
	}
	return v
}

// dropRedacted removes from a free-form value, in place, what redactTree put there.
// It returns false when the value itself is such a mark.
func dropRedacted(v any) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			kept, ok := dropRedacted(e)
			if !ok {
				delete(v, k)
				continue
			}
			v[k] = kept
		}
		return v, true
	case []any:
		for _, e := range v {
			if _, ok := dropRedacted(e); !ok {
				return nil, false
			}
		}
		return v, true
	case string:
		return v, !isRedacted(v)
	}
	return v, true
}
