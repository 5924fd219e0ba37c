package parser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// An Arg is one argument of an event or acknowledgement: JSON in which binary
// values may stand.
//
// The place of a binary value is held by Placeholder(i), i being its index in
// Attachments. The index counts within this argument; the numbers on the wire
// are the encoder's business.
type Arg struct {
	// JSON must be valid and compact; it is sent as it is. Use JSON to make an
	// Arg of text that is not known to be so.
	JSON json.RawMessage
	// Attachments are the binary values.
	Attachments [][]byte
}

// errBinary is the answer to decoding what JSON cannot express.
var errBinary = errors.New("argument holds binary values")

// Raw returns json as an argument, unchecked: the caller knows that it is
// valid and compact. Invalid JSON makes every receiver drop the connection.
func Raw(json json.RawMessage) Arg { return Arg{JSON: json} }

// JSON returns v, encoded as encoding/json does but without escaping < > & for
// HTML, as an argument. A json.RawMessage is checked and compacted.
func JSON(v any) (Arg, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return Arg{}, fmt.Errorf("encode argument: %w", err)
	}
	return Arg{JSON: bytes.TrimSuffix(b.Bytes(), []byte("\n"))}, nil
}

// String returns s as an argument.
func String(s string) Arg { return Arg{JSON: AppendString(nil, s)} }

// Binary returns b as an argument. It must not be changed afterwards.
func Binary(b []byte) Arg {
	return Arg{JSON: Placeholder(0), Attachments: [][]byte{b}}
}

// List returns args as one argument, an array of them, with what is binary in
// any of them.
func List(args ...Arg) Arg {
	list := Arg{JSON: []byte{'['}}
	for i, a := range args {
		if i > 0 {
			list.JSON = append(list.JSON, ',')
		}
		list.JSON, _ = a.append(list.JSON, len(list.Attachments))
		a.eachPlaceholder(func(_, _, num int) { list.Attachments = append(list.Attachments, a.Attachments[num]) })
	}
	list.JSON = append(list.JSON, ']')
	return list
}

// Decode stores the argument in v, as json.Unmarshal does. It refuses an
// argument that holds binary values; see Bytes, and Attachments for those
// within an object or array.
func (a Arg) Decode(v any) error {
	if len(a.Attachments) > 0 {
		return errBinary
	}
	if err := json.Unmarshal(a.JSON, v); err != nil {
		return fmt.Errorf("decode argument: %w", err)
	}
	return nil
}

// Bytes returns the argument if it is one binary value.
func (a Arg) Bytes() ([]byte, bool) {
	if len(a.Attachments) != 1 || !bytes.Equal(a.JSON, placeholderZero) {
		return nil, false
	}
	return a.Attachments[0], true
}

// Text returns the argument if it is a string.
func (a Arg) Text() (string, bool) {
	if len(a.JSON) < 2 || a.JSON[0] != '"' {
		return "", false
	}
	return unquote(a.JSON), true
}

// unquote returns the value of a valid JSON string.
func unquote(quoted []byte) string {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return string(inner)
	}
	return s
}

const hexDigits = "0123456789abcdef"

// AppendString appends s to dst as a JSON string, escaping only what JSON
// demands. Invalid UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
			continue
		}
		i++
	}
	return append(dst, '"')
}
