package config

import (
	"regexp"
	"strings"

	"github.com/knadh/koanf/v2"
)

var (
	// secretName tells by its name that an entry of a free-form map is a secret. Typed keys say so by their type instead.
	secretName = regexp.MustCompile(`(?i)key|token|secret|passw|pwd|dsn|credential|authorization|cookie`)
	// headersName is the name of a map or a list of HTTP headers: any of them may carry a key, whatever it is called.
	headersName = regexp.MustCompile(`(?i)headers?$`)
	// userinfo reaches from the scheme to the last @: a password whose owner did not escape it may hold any
	// character, so this takes too much rather than too little.
	userinfo = regexp.MustCompile(`(?s)([A-Za-z][A-Za-z0-9+.-]*://).*@`)
	// secretParameter is a query parameter with a name like secretName's.
	secretParameter = regexp.MustCompile(`(?i)([?&;][^=&;#\s]*(?:key|token|secret|passw|pwd|credential|signature)[^=&;#\s]*=)([^&;#\s]+)`)
	// secretArgument is an argument --api-token, with its value behind = or in the next argument.
	secretArgument = regexp.MustCompile(`(?i)^(--?[^=\s]*(?:key|token|secret|passw|pwd|dsn|credential|authorization|cookie|header)[^=\s]*)(=?)(.*)$`)
	// urlPath is the path of a URL, behind its host.
	urlPath = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^/?#\s,]*/)([^?#\s,]+)`)
	// plainSegment is a part of a path that reads as words or a version. Anything else may be a key, as in
	// https://hooks.slack.com/services/T0/B0/XXXX or https://api.telegram.org/bot123:AAE/sendMessage.
	plainSegment = regexp.MustCompile(`^(\.?[a-z]{1,12}([._-][a-z]{1,12})*|v?\d{1,4}|%2[fF]|\{[a-z_]+\})?$`)
	// redactedPath is a path that redactText has printed.
	redactedPath = regexp.MustCompile(`://[^?#\s]*/\*\*\*`)
)

// redactText takes the secrets out of a URL: user and password, parameters with a name like a secret's, and what is no
// word in its path. Other text is left as it is.
func redactText(s string) string {
	return urlPath.ReplaceAllStringFunc(redactCredentials(s), func(u string) string {
		parts := urlPath.FindStringSubmatch(u)
		segments := strings.Split(parts[2], "/")
		for i, segment := range segments {
			if !plainSegment.MatchString(segment) {
				segments[i] = redacted
			}
		}
		return parts[1] + strings.Join(segments, "/")
	})
}

// redactCredentials takes out of a URL only what is surely a secret: user and password, and parameters with a name like
// a secret's.
func redactCredentials(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	s = userinfo.ReplaceAllString(s, "${1}"+redacted+"@")
	return secretParameter.ReplaceAllString(s, "${1}"+redacted)
}

// isRedacted reports that a text is one we printed, not one that a user chose.
func isRedacted(s string) bool {
	if s == redacted || strings.Contains(s, "://"+redacted+"@") || redactedPath.MatchString(s) {
		return true
	}
	if m := secretArgument.FindStringSubmatch(s); m != nil && m[3] == redacted {
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
			out[k] = redactTree(e, secret || secretName.MatchString(k) || headersName.MatchString(k))
		}
		return out
	case []any:
		out := make([]any, len(v))
		next := false // the value of an argument --token stands behind it
		for i, e := range v {
			out[i] = redactTree(e, secret || next)
			text, _ := e.(string)
			argument := secretArgument.FindStringSubmatch(text)
			if next = argument != nil && argument[2] == ""; argument != nil && argument[2] == "=" && argument[3] != "" && !secret {
				out[i] = argument[1] + "=" + redacted
			}
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

// secretsIn returns the keys of a layer that hold something that must not be known to others.
func (t *table) secretsIn(values *koanf.Koanf) (keys []string) {
	for _, key := range values.Keys() {
		n, path := t.find(key)
		text := textOf(values.Get(key))
		if n == nil || text == "" || isRedacted(text) {
			continue
		}
		named := n.shape == shapeOpaque && secretName.MatchString(strings.Join(path[min(len(path), len(n.path)):], "."))
		if n.shape == shapeSecret || named || headersName.MatchString(path[max(0, len(path)-2)]) || redactCredentials(text) != text {
			keys = append(keys, key)
		}
	}
	return keys
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
