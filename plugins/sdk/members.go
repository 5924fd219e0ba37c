package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
)

// errSyntax says that a line of the host is no JSON object.
var errSyntax = errors.New("the line is not a JSON object")

// members calls visit for each member of a JSON object, in order. Values are cut out and not looked into, which is most of what
// encoding/json would do with the data of an event: what is wrong inside of one shows when it is decoded.
func members(object []byte, visit func(key, value []byte) error) error {
	rest := bytes.TrimSpace(object)
	if len(rest) < 2 || rest[0] != '{' || rest[len(rest)-1] != '}' {
		return errSyntax
	}
	rest = bytes.TrimSpace(rest[1 : len(rest)-1])
	for len(rest) > 0 {
		key := value(rest)
		rest = bytes.TrimSpace(rest[len(key):])
		if len(key) < 2 || key[0] != '"' || len(rest) == 0 || rest[0] != ':' {
			return errSyntax
		}
		rest = bytes.TrimSpace(rest[1:])
		v := value(rest)
		if len(v) == 0 {
			return errSyntax
		}
		if err := visit(key[1:len(key)-1], v); err != nil {
			return err
		}
		if rest = bytes.TrimSpace(rest[len(v):]); len(rest) == 0 {
			return nil
		}
		if rest[0] != ',' || len(rest) == 1 {
			return errSyntax
		}
		rest = bytes.TrimSpace(rest[1:])
	}
	return nil
}

// value returns the JSON value that b begins with; empty if it has no end.
func value(b []byte) []byte {
	depth := 0
	for i := 0; i < len(b); {
		switch b[i] {
		case '"':
			n := text(b[i:])
			if n == 0 {
				return nil
			}
			if i += n; depth == 0 {
				return b[:i]
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return b[:i+1]
			}
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return b[:i]
			}
		}
		if depth < 0 {
			return nil
		}
		i++
	}
	if depth > 0 {
		return nil
	}
	return b
}

// text returns the length of the JSON string that b begins with, 0 if it has no end.
func text(b []byte) int {
	for i := 1; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return 0
		}
		end := i + n
		slashes := 0
		for b[end-1-slashes] == '\\' {
			slashes++
		}
		if i = end + 1; slashes%2 == 0 {
			return i
		}
	}
}

// unquote reads a JSON string, or null as the empty one.
func unquote(value []byte) (s string, err error) {
	if len(value) >= 2 && value[0] == '"' && bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1]), nil
	}
	return s, json.Unmarshal(value, &s)
}
