package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/evosink/evosink/core/event"
)

// A batch is what one POST brings: single says that it was one event and not a list of one.
type batch struct {
	items  []json.RawMessage
	single bool
}

// split cuts a body into JSON values: one, those of an array, or several behind each other, of which NDJSON is a
// case. The values share the body's memory or have their own.
func (limits Events) split(body []byte) (batch, error) {
	body = bytes.Trim(event.WithoutBOM(body), " \t\r\n")
	var b batch
	var err error
	switch {
	case len(body) == 0:
		return b, badRequest(`The body is empty; send {"event":"messages.upsert","data":{...}}, a list of such, or one per line`)
	case body[0] == '[':
		b.items, err = limits.array(body)
	case event.IsJSONValue(body): // whether it is valid, decoding it tells
		b = batch{[]json.RawMessage{body}, true}
	default:
		b.items, err = limits.sequence(body)
	}
	if err != nil {
		return b, err
	}
	if len(b.items) == 0 {
		return b, badRequest("The list holds no events")
	}
	return b, limits.sizes(b.items)
}

func (limits Events) array(body []byte) ([]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if _, err := dec.Token(); err != nil {
		return nil, malformed(err, dec)
	}
	items, err := limits.collect(dec, dec.More)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != nil {
		return nil, malformed(err, dec)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, badRequest(fmt.Sprintf("Malformed JSON: something follows the list, at byte %d", dec.InputOffset()))
	}
	return items, nil
}

func (limits Events) sequence(body []byte) ([]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	return limits.collect(dec, func() bool { return dec.InputOffset() < int64(len(body)) })
}

// collect decodes values while there are more.
func (limits Events) collect(dec *json.Decoder, more func() bool) ([]json.RawMessage, error) {
	var items []json.RawMessage
	for more() {
		var item json.RawMessage
		if err := dec.Decode(&item); err != nil {
			return nil, malformed(err, dec)
		}
		if len(items) == limits.MaxBatch {
			return nil, tooLarge("The body holds more than %d events", limits.MaxBatch)
		}
		items = append(items, item)
	}
	return items, nil
}

func (limits Events) sizes(items []json.RawMessage) error {
	for i, item := range items {
		if int64(len(item)) > limits.MaxBytes {
			return tooLarge("events[%d] has %d bytes, at most %d are allowed", i, len(item), limits.MaxBytes)
		}
	}
	return nil
}

func malformed(err error, dec *json.Decoder) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return badRequest("Malformed JSON: the body ends in the middle of a value")
	}
	return badRequest(fmt.Sprintf("Malformed JSON: %s, behind byte %d", err, dec.InputOffset()))
}

// events decodes every item of a batch, completes it by fill and checks it. An error lists what is wrong with each.
func (b batch) events(fill func(*event.Event) error) ([]*event.Event, error) {
	out := make([]*event.Event, 0, len(b.items))
	var wrong []string
	allowed := false // something is wrong beside what the caller may not say
	for i, item := range b.items {
		e, err := event.Decode(item)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, badRequest(fmt.Sprintf("Malformed JSON: %s, behind byte %d", syntax, syntax.Offset))
		}
		if err == nil {
			err = fill(e)
		}
		if err == nil {
			err = e.Validate()
		}
		if err != nil {
			wrong = append(wrong, b.label(i, reasons(err))...)
			var system errSystem
			allowed = allowed || !errors.As(err, &system)
		}
		out = append(out, e)
	}
	switch {
	case len(wrong) == 0:
		return out, nil
	case !allowed:
		return nil, forbidden(atMost(maxViolations, wrong)...)
	}
	return nil, badRequest(atMost(maxViolations, wrong)...)
}

// label says which event of several is meant.
func (b batch) label(i int, reasons []string) []string {
	if b.single {
		return reasons
	}
	for k, reason := range reasons {
		reasons[k] = fmt.Sprintf("events[%d]: %s", i, reason)
	}
	return reasons
}

// maxViolations bounds the list of what is wrong with a request.
const maxViolations = 20

func atMost(n int, messages []string) []string {
	if more := len(messages) - n; more > 0 {
		return append(messages[:n:n], fmt.Sprintf("... and %d more", more))
	}
	return messages
}
