package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// A Decoder decodes the envelopes of a body, and reads its bytes once: one envelope, those of a list, or several behind
// each other, of which NDJSON is a case. The body may begin with a byte order mark.
//
//	for d.Next() {
//		e, err := d.Event()
//	}
//	err := d.Err()
//
// Until Next has returned false, what follows may turn out not to be valid. One goroutine may use a Decoder at a time.
type Decoder struct {
	scan scan
	next int // index of what stands behind the last value: the next one, or in a list, the comma before that
	list bool
	done bool
	err  error
	last object
}

// NewDecoder returns a Decoder of body, which must not be changed any more: an event that is half of it or more shares
// its memory.
func NewDecoder(body []byte) *Decoder {
	d := &Decoder{scan: scan{b: bytes.Trim(WithoutBOM(body), space)}, last: object{memory: cap(body)}}
	if d.list = d.scan.at(0) == '['; d.list {
		d.scan.depth = 1
	}
	return d
}

// List reports whether the body is a list of envelopes.
func (d *Decoder) List() bool { return d.list }

// Next goes on to the next value. It returns false behind the last one, or if what follows is not valid.
func (d *Decoder) Next() bool {
	s, i := &d.scan, d.next
	if d.done || d.err != nil || !d.list && i == len(s.b) {
		return false
	}
	if d.list {
		first, comma := i == 0, s.at(i) == ','
		if first || comma {
			i = s.space(i + 1)
		}
		if s.at(i) == ']' && !comma {
			if d.done = true; i+1 < len(s.b) {
				d.err = fmt.Errorf("something follows the list, at byte %d", i+1)
			}
			return false
		}
		if !first && !comma {
			i = -1
		}
	}
	end := s.object(i, &d.last)
	if end < 0 {
		from := d.next
		if d.list {
			from = 0
		}
		d.err = json.Unmarshal(s.b[from:], new(json.RawMessage)) // tells what is wrong, before it copies anything
		if syntax, ok := errors.AsType[*json.SyntaxError](d.err); ok {
			syntax.Offset += int64(from)
		}
		return false
	}
	d.next = s.space(end)
	return true
}

// Bytes returns the value that Next found. It shares the body's memory.
func (d *Decoder) Bytes() json.RawMessage { return d.last.value }

// Event decodes the value that Next found, as [Decode] does.
func (d *Decoder) Event() (*Event, error) { return decode(&d.last) }

// UTF8 reports whether all that was read is UTF-8.
func (d *Decoder) UTF8() bool { return !d.scan.broken }

// Err returns nil if the body's end was reached, else what is not valid: a [json.SyntaxError] whose Offset counts from
// the body's beginning (white space not included), or that something follows a list.
func (d *Decoder) Err() error { return d.err }
