package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/evosink/evosink/core/event"
)

// A batch is what one POST brings: single says that it was one event and not a list of one.
type batch struct {
	items  []json.RawMessage
	single bool
}

// split cuts a body into JSON values: one, those of an array, or several behind each other, of which NDJSON is a
// case. The values share the body's memory.
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

// array cuts a JSON array at the commas between its elements.
func (limits Events) array(body []byte) ([]json.RawMessage, error) {
	if end := valueEnd(body); end < len(body) && json.Valid(body[:end]) {
		return nil, badRequest(fmt.Sprintf("Malformed JSON: something follows the list, at byte %d", end))
	}
	if err := checkJSON(body, 0); err != nil {
		return nil, err
	}
	var items []json.RawMessage
	for rest := bytes.Trim(body[1:len(body)-1], " \t\r\n"); len(rest) > 0; {
		if len(items) == limits.MaxBatch {
			return nil, tooLarge("The body holds more than %d events", limits.MaxBatch)
		}
		end := valueEnd(rest)
		items = append(items, json.RawMessage(rest[:end:end]))
		rest = bytes.TrimLeft(rest[end:], " \t\r\n,")
	}
	return items, nil
}

// sequence cuts JSON values that stand behind each other.
func (limits Events) sequence(body []byte) ([]json.RawMessage, error) {
	var items []json.RawMessage
	for rest := body; len(rest) > 0; {
		end := valueEnd(rest)
		if err := checkJSON(rest[:end], len(body)-len(rest)); err != nil {
			return nil, err
		}
		if len(items) == limits.MaxBatch {
			return nil, tooLarge("The body holds more than %d events", limits.MaxBatch)
		}
		items = append(items, json.RawMessage(rest[:end:end]))
		rest = bytes.TrimLeft(rest[end:], " \t\r\n")
	}
	return items, nil
}

// valueEnd returns where the JSON value that text begins with ends. Of what is no JSON it returns some end, above 0.
func valueEnd(text []byte) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case c == '{' || c == '[':
			depth++
			continue
		case c == '}' || c == ']':
			depth--
		default: // part of a number or word, which end before what may follow them
			if depth > 0 || i+1 < len(text) && !bytes.ContainsRune([]byte(" \t\r\n,:{}[]\""), rune(text[i+1])) {
				continue
			}
		}
		if depth <= 0 {
			return min(i+1, len(text))
		}
	}
	return len(text)
}

// checkJSON reports what is wrong with a text that should be one JSON value and begins at a byte of the body.
func checkJSON(text []byte, at int) error {
	if json.Valid(text) {
		return nil
	}
	err := json.Unmarshal(text, new(json.RawMessage)) // fails before it copies anything
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset >= int64(len(text)) && strings.HasPrefix(syntax.Error(), "unexpected end") {
		return badRequest("Malformed JSON: the body ends in the middle of a value")
	}
	return badRequest(fmt.Sprintf("Malformed JSON: %s, at byte %d", syntax, int64(at)+syntax.Offset))
}

func (limits Events) sizes(items []json.RawMessage) error {
	for i, item := range items {
		if int64(len(item)) > limits.MaxBytes {
			return tooLarge("events[%d] has %d bytes, at most %d are allowed", i, len(item), limits.MaxBytes)
		}
	}
	return nil
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
