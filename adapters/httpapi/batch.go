package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/evosink/evosink/core/event"
)

// A batch is what one POST brings: single says that it was one event and not a list of one.
type batch struct {
	events []*event.Event
	single bool
}

// decode reads the events of a body: one, those of a list, or several behind each other, of which NDJSON is a case.
// Each is completed by fill and checked. An error says what is wrong with the body as a whole, else with each of the
// events.
func (limits Events) decode(body []byte, fill func(*event.Event) error) (batch, error) {
	var b batch
	var whole *problem
	errs := map[int]error{}
	d := event.NewDecoder(body)
	for d.Next() {
		n := len(b.events)
		if n == limits.MaxBatch {
			if whole = tooLarge("The body holds more than %d events", limits.MaxBatch); d.List() {
				continue // to its end, for that it is no list comes first
			}
			break
		}
		e, err := d.Event()
		if err == nil {
			err = fill(e)
		}
		if err == nil {
			err = e.Validate()
		}
		if err != nil {
			errs[n] = err
		}
		if size := len(d.Bytes()); int64(size) > limits.MaxBytes && whole == nil {
			whole = tooLarge("events[%d] has %d bytes, at most %d are allowed", n, size, limits.MaxBytes)
		}
		b.events = append(b.events, e)
	}
	b.single = len(b.events) == 1 && !d.List()
	var syntax *json.SyntaxError
	switch err := d.Err(); {
	case !d.UTF8(), (err != nil || whole != nil) && !utf8.Valid(body):
		return b, notUTF8()
	case errors.As(err, &syntax) && strings.HasPrefix(syntax.Error(), "unexpected end"):
		return b, badRequest("Malformed JSON: the body ends in the middle of a value")
	case errors.As(err, &syntax) && len(b.events) == 0 && !d.List():
		return b, badRequest(fmt.Sprintf("Malformed JSON: %s, behind byte %d", syntax, syntax.Offset))
	case errors.As(err, &syntax):
		return b, badRequest(fmt.Sprintf("Malformed JSON: %s, at byte %d", syntax, syntax.Offset))
	case err != nil:
		return b, badRequest("Malformed JSON: " + err.Error())
	case whole != nil:
		return b, whole
	case len(b.events) > 0:
		return b, b.refusal(errs)
	case d.List():
		return b, badRequest("The list holds no events")
	}
	return b, badRequest(`The body is empty; send {"event":"messages.upsert","data":{...}}, a list of such, or one per line`)
}

// refusal lists what is wrong with each of the events; errs are by their index. It returns nil if there are none.
func (b batch) refusal(errs map[int]error) error {
	var wrong []string
	allowed := false // something is wrong beside what the caller may not say
	for i := range b.events {
		err := errs[i]
		if err == nil {
			continue
		}
		for _, reason := range reasons(err) {
			if !b.single { // which one is meant
				reason = fmt.Sprintf("events[%d]: %s", i, reason)
			}
			wrong = append(wrong, reason)
		}
		var system errSystem
		allowed = allowed || !errors.As(err, &system)
	}
	switch {
	case len(wrong) == 0:
		return nil
	case !allowed:
		return forbidden(atMost(maxViolations, wrong)...)
	}
	return badRequest(atMost(maxViolations, wrong)...)
}

// maxViolations bounds the list of what is wrong with a request.
const maxViolations = 20

func atMost(n int, messages []string) []string {
	if more := len(messages) - n; more > 0 {
		return append(messages[:n:n], fmt.Sprintf("... and %d more", more))
	}
	return messages
}
