package parser

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// data checks the payload of what is neither event nor acknowledgement.
func (l *Limits) data(t Type, payload []byte) (json.RawMessage, error) {
	if len(payload) == 0 {
		return nil, nil
	}
	compact, err := l.compact(payload)
	if err != nil {
		return nil, err
	}
	object := compact[0] == '{'
	text := compact[0] == '"' && t == ConnectError
	if t == Disconnect || !object && !text {
		return nil, fmt.Errorf("payload of %v: %w", t, ErrMalformed)
	}
	if _, err := l.split(compact); err != nil {
		return nil, err
	}
	return compact, nil
}

// array checks that payload is a JSON array and returns its elements.
func (l *Limits) array(payload []byte) ([]json.RawMessage, error) {
	compact, err := l.compact(payload)
	if err != nil {
		return nil, err
	}
	if compact[0] != '[' {
		return nil, fmt.Errorf("payload is no array: %w", ErrMalformed)
	}
	return l.split(compact)
}

// compact checks that payload is JSON and returns it without white space
// between its parts. encoding/json bounds the depth by itself, without
// recursion.
func (l *Limits) compact(payload []byte) ([]byte, error) {
	if len(payload) > l.JSON {
		return nil, fmt.Errorf("payload: %w of %d bytes", ErrLimit, l.JSON)
	}
	if !bytes.ContainsAny(payload, " \t\r\n") {
		if !json.Valid(payload) {
			return nil, fmt.Errorf("payload is no JSON: %w", ErrMalformed)
		}
		return payload, nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, payload); err != nil {
		return nil, fmt.Errorf("payload is no JSON: %w", ErrMalformed)
	}
	return b.Bytes(), nil
}

// split cuts valid, compact JSON at the commas of its outermost array or
// object, and checks its depth.
func (l *Limits) split(compact []byte) ([]json.RawMessage, error) {
	if len(compact) <= len("[]") {
		return nil, nil
	}
	parts := make([]json.RawMessage, 0, 4)
	depth, from := 0, 1
	for i := 0; i < len(compact); i++ {
		switch compact[i] {
		case '"':
			i = stringEnd(compact, i)
		case '[', '{':
			if depth++; depth > l.Depth {
				return nil, fmt.Errorf("payload: %w of %d levels", ErrLimit, l.Depth)
			}
		case ']', '}':
			depth--
		case ',':
			if depth > 1 {
				continue
			}
			parts = append(parts, compact[from:i:i])
			from = i + 1
			if len(parts) >= l.Args {
				return nil, fmt.Errorf("payload: %w of %d arguments", ErrLimit, l.Args)
			}
		}
	}
	end := len(compact) - 1
	return append(parts, compact[from:end:end]), nil
}

// stringEnd returns the index of the quote that closes the string opened at i.
func stringEnd(valid []byte, i int) int {
	for i++; valid[i] != '"'; i++ {
		if valid[i] == '\\' {
			i++
		}
	}
	return i
}
