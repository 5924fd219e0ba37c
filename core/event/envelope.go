package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// Keys is the order of an envelope's keys on most sinks: that of Evolution API, with the id that it lacks behind them.
// Sinks with another order bring their own.
var Keys = []string{"event", "instance", "data", "server_url", "date_time", "sender", "apikey", "id"}

// envelopeKeys are those that [Decode] knows.
var envelopeKeys = append([]string{"sinks"}, Keys...)

// A Codec writes envelopes. Its zero value writes [Keys], hides the token ("apikey": null)
// and gives the time in UTC. It may be used by any number of goroutines at once.
type Codec struct {
	Keys         []string       // which keys, in which order; nil means [Keys]
	ExposeAPIKey bool           // write the instance's token instead of null
	LocalTime    *time.Location // Evolution API's old form: the local clock of this zone, labelled Z; nil means true UTC
}

// An Extra is a key of an envelope that only one sink has, "destination" for example.
// Value is JSON; a nil Value leaves the key out.
type Extra struct {
	Key   string
	Value json.RawMessage
}

// Append appends the envelope of e, compact JSON around the bytes of e.Data (see [AppendJSON]), to dst and returns the
// extended slice. The members of e.Extras come last. Keys without a value are left out as Evolution API does
// (server_url, sender); a key of neither the event nor extra is left out too.
func (c Codec) Append(dst []byte, e *Event, extra ...Extra) []byte {
	keys := c.Keys
	if keys == nil {
		keys = Keys
	}
	dst = append(dst, '{')
	start := len(dst)
	for _, key := range keys {
		mark := len(dst)
		if mark > start {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, key), ':')
		value := len(dst)
		if dst = c.appendValue(dst, key, e, extra); len(dst) == value {
			dst = dst[:mark]
		}
	}
	if len(e.Extras) > 0 {
		dst = appendExtras(dst, len(dst) > start, e.Extras, keys)
	}
	return append(dst, '}')
}

// appendExtras appends the members of extras that none of the envelope's keys could be mistaken for.
func appendExtras(dst []byte, behind bool, extras json.RawMessage, keys []string) []byte {
	// Validate has checked extras. What is no object has no members.
	_ = Members(extras, func(key string, value json.RawMessage) error {
		if shadows(key, keys) != "" {
			return nil
		}
		if behind {
			dst = append(dst, ',')
		}
		behind = true
		dst = AppendJSON(append(AppendString(dst, key), ':'), value)
		return nil
	})
	return dst
}

// appendValue appends nothing when the key has no value.
func (c Codec) appendValue(dst []byte, key string, e *Event, extra []Extra) []byte {
	switch key {
	case "event":
		return AppendString(dst, e.Name)
	case "instance":
		return AppendString(dst, e.Instance)
	case "data":
		return AppendJSON(dst, e.Data)
	case "server_url":
		return appendUnlessEmpty(dst, e.ServerURL)
	case "date_time":
		return c.appendTime(dst, e.Time)
	case "sender":
		return appendUnlessEmpty(dst, e.Sender)
	case "apikey":
		switch {
		case !c.ExposeAPIKey:
			return append(dst, "null"...)
		case e.APIKey == "":
			return AppendString(dst, "Apikey not found")
		}
		return AppendString(dst, e.APIKey)
	case "id":
		return appendUnlessEmpty(dst, e.ID)
	}
	if i := slices.IndexFunc(extra, func(x Extra) bool { return x.Key == key }); i >= 0 {
		return append(dst, extra[i].Value...)
	}
	return dst
}

const timeLayout = "2006-01-02T15:04:05.000Z"

func (c Codec) appendTime(dst []byte, t time.Time) []byte {
	zone := time.UTC
	if c.LocalTime != nil {
		zone = c.LocalTime
	}
	dst = append(dst, '"')
	dst = t.In(zone).AppendFormat(dst, timeLayout)
	return append(dst, '"')
}

func appendUnlessEmpty(dst []byte, s string) []byte {
	if s == "" {
		return dst
	}
	return AppendString(dst, s)
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string: nothing is escaped that need not be (no HTML
// escaping), and invalid UTF-8 becomes U+FFFD, as encoding/json does.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		if b := s[i]; b < utf8.RuneSelf {
			if b >= 0x20 && b != '"' && b != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			if b >= 0x20 {
				dst = append(dst, '\\', b)
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&0xf])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(append(dst, s[start:i]...), "\ufffd"...)
			start = i + size
		}
		i += size
	}
	return append(append(dst, s[start:]...), '"')
}

// Decode reads an envelope: a JSON object with "event" and optionally instance, data, server_url,
// date_time (RFC 3339), sender, apikey, id and sinks. The name comes back in wire
// form whatever its spelling. It checks syntax and types only, see [Event.Validate]; what it
// does not find stays zero. Other keys become [Event.Extras], see [Event.AddExtra]. Errors wrap [ErrInvalid].
//
// Keys are exact. One that differs from a key above in capitals only is an error if that key is missing, for its value
// would be lost; beside that key it is left out. A key that is given twice is an error. b may begin with a byte order
// mark.
func Decode(b []byte) (*Event, error) {
	var o object
	if err := readObject(WithoutBOM(b), &o); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return decode(&o)
}

func decode(o *object) (*Event, error) {
	named := false
	e, err := o.event(envelopeKeys, func(e *Event, key string, value json.RawMessage) (err error) {
		switch key {
		case "event":
			named = JSONKind(value) != "null"
			e.Name, err = textOf(key, value)
			e.Name = Canonical(e.Name)
		case "instance":
			e.Instance, err = textOf(key, value)
		case "server_url":
			e.ServerURL, err = textOf(key, value)
		case "date_time":
			var at string
			if at, err = textOf(key, value); err == nil {
				e.Time, err = parseTime(at)
			}
		case "sender":
			e.Sender, err = textOf(key, value)
		case "apikey":
			e.APIKey, err = textOf(key, value)
		case "id":
			e.ID, err = textOf(key, value)
		case "sinks":
			if json.Unmarshal(value, &e.Sinks) != nil {
				err = fmt.Errorf("%q must be a list of strings, got %s", key, JSONKind(value))
			}
		default:
			e.AddExtra(key, value)
		}
		return err
	})
	if err == nil && !named {
		return nil, fmt.Errorf(`%w: "event" is missing; give its name, like "messages.upsert"`, ErrInvalid)
	}
	return e, err
}

// DecodeKeys reads an envelope of another product, a JSON object whose "data" is the event's. It calls take for each
// other key, in order. What is wrong with b, with the keys in general (see [Members]) or with the spelling of those
// that are known (see [CheckSpelling]) is an error, as is what take returns. Errors wrap [ErrInvalid].
func DecodeKeys(b []byte, known []string, take takeKey) (*Event, error) {
	var o object
	if err := readObject(WithoutBOM(b), &o); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return o.event(known, take)
}

// takeKey takes one key of an envelope into an event.
type takeKey = func(e *Event, key string, value json.RawMessage) error

// event is [DecodeKeys] for an object that was read. [Event.Validate] need not look at its data again if that is UTF-8.
func (o *object) event(known []string, take takeKey) (*Event, error) {
	e := &Event{}
	var room [16]string
	has := room[:0]
	err := o.visit(func(key string, m member) error {
		has = append(has, key)
		if key != "data" {
			return take(e, key, m.value)
		}
		e.Data = m.value
		if len(e.Data) < o.memory/2 { // whatever keeps the event counts its own bytes, and would keep all of the memory
			e.Data = bytes.Clone(e.Data)
		}
		if m.utf8 {
			e.checked.data = e.Data
		}
		return nil
	})
	if err == nil {
		err = CheckSpelling(has, known...)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return e, nil
}

func textOf(key string, value json.RawMessage) (string, error) {
	s, ok := JSONText(value)
	if !ok {
		return "", fmt.Errorf("%q must be a string, got %s", key, JSONKind(value))
	}
	return s, nil
}

func parseTime(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, fmt.Errorf(`date_time %.40q is not an RFC 3339 time like "2025-10-21T14:00:39.512Z"`, s)
	}
	return t.UTC().Truncate(time.Millisecond), nil
}
