package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// params are what an admin request says, in its query or in its body. They are read strictly: what is misspelt, empty
// or said twice is refused, for a selection that is not understood would be larger than was meant.
type params struct {
	values url.Values
	taken  []string
	wrong  []string
}

// queryParams reads a query.
func queryParams(r *http.Request) *params {
	values, err := url.ParseQuery(r.URL.RawQuery)
	p := &params{values: values}
	if err != nil {
		p.refuse("the query is malformed: %v", err)
	}
	return p
}

// bodyParams reads a JSON object of strings, numbers, true and false, and lists of these. No body is an empty object.
func (a *API) bodyParams(w http.ResponseWriter, r *http.Request) (*params, error) {
	body, err := a.readBody(w, r, operator, maxSettings)
	if err != nil {
		return nil, err
	}
	p := &params{values: url.Values{}}
	if len(strings.TrimSpace(string(body))) == 0 {
		return p, nil
	}
	doc, err := parse(body)
	if err != nil {
		return nil, err
	}
	keys, ok := doc.(map[string]any)
	if !ok {
		return nil, badRequest("The body must be a JSON object")
	}
	for key, value := range keys {
		p.add(key, value, true)
	}
	return p, nil
}

func (p *params) add(key string, value any, lists bool) {
	switch v := value.(type) {
	case string:
		p.values.Add(key, v)
	case json.Number:
		p.values.Add(key, v.String())
	case bool:
		p.values.Add(key, strconv.FormatBool(v))
	case []any:
		if lists && len(v) > 0 {
			for _, entry := range v {
				p.add(key, entry, false)
			}
			return
		}
		p.refuse("%.80q must not be an empty list, or a list in a list", key)
	default:
		p.refuse("%.80q must be a text, a number, true or false", key)
	}
}

func (p *params) refuse(format string, args ...any) {
	p.wrong = append(p.wrong, fmt.Sprintf(format, args...))
}

// text returns a text; "" if it is not there.
func (p *params) text(name string) string {
	p.taken = append(p.taken, name)
	values, ok := p.values[name]
	switch {
	case !ok:
		return ""
	case len(values) > 1:
		p.refuse("%q is there %d times, it may be there once", name, len(values))
	case values[0] == "":
		p.refuse("%q is empty; give it a value or leave it out", name)
	case len(values[0]) > maxText:
		p.refuse("%q has %d bytes, at most %d are allowed", name, len(values[0]), maxText)
	}
	return values[0]
}

// maxText bounds every text.
const maxText = 1000

// number returns a number from low to high; otherwise if it is not there.
func (p *params) number(name string, low, high, otherwise int64) int64 {
	text := p.text(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < low || n > high {
		p.refuse("%q must be a number from %d to %d, not %.40q", name, low, high, text)
	}
	return n
}

// flag returns a switch, which is off if it is not there.
func (p *params) flag(name string) bool {
	return p.choice(name, "false", "false", "true") == "true"
}

// choice returns one of several words; otherwise if there is none.
func (p *params) choice(name, otherwise string, words ...string) string {
	text := p.text(name)
	switch {
	case text == "":
		return otherwise
	case !slices.Contains(words, text):
		p.refuse("%q must be one of %s, not %.40q", name, strings.Join(words, ", "), text)
	}
	return text
}

// ids returns ids of dead letters.
func (p *params) ids(name string) (ids []int64) {
	p.taken = append(p.taken, name)
	if n := len(p.values[name]); n > maxIDs {
		p.refuse("%q holds %d ids, at most %d are allowed", name, n, maxIDs)
		return nil
	}
	for _, text := range p.values[name] {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || id <= 0 {
			p.refuse("%q: %.40q is not the id of a dead letter", name, text)
		}
		ids = append(ids, id)
	}
	return ids
}

// maxIDs bounds a list of ids.
const maxIDs = 1000

// selector returns which lanes are meant. A sink that is not in the build, and of which nothing waits or is dead, is a
// typing error.
func (a *API) selector(r *http.Request, p *params, q *queue.Queue) queue.Selector {
	s := queue.Selector{Sink: p.text("sink"), Target: sink.Target(p.text("target")), Instance: p.text("instance")}
	names := a.sinkNames()
	if s.Sink == "" || slices.Contains(names, s.Sink) || len(q.Backlog(queue.Selector{Sink: s.Sink})) > 0 {
		return s
	}
	if dead, err := q.CountDeadLetters(r.Context(), queue.DeadLetterFilter{Selector: queue.Selector{Sink: s.Sink}}); err == nil && dead == 0 {
		p.refuse("No sink is called %.80q; there are: %s%s", s.Sink, strings.Join(names, ", "), a.didYouMean(s.Sink, names))
	}
	return s
}

// didYouMean is the tail of a message about a word that is not known: ", did you mean x?" or nothing.
func (a *API) didYouMean(word string, known []string) string {
	if a.opts.Nearest != nil {
		if near := a.opts.Nearest(word, known); near != "" {
			return ", did you mean " + near + "?"
		}
	}
	return ""
}

// letters returns which dead letters are meant.
func (a *API) letters(r *http.Request, p *params, q *queue.Queue) queue.DeadLetterFilter {
	reasons := []string{string(queue.Permanent), string(queue.Attempts), string(queue.TooOld), string(queue.Full), string(queue.Gone)}
	return queue.DeadLetterFilter{
		Selector: a.selector(r, p, q), EventID: p.text("event"), Error: p.text("error"),
		Reason: queue.Reason(p.choice("reason", "", reasons...)),
	}
}

// limit returns how many rows a page has.
func (p *params) limit() int { return int(p.number("limit", 1, 1000, 100)) }

// check is called when all that is known was read: it refuses what is left.
func (p *params) check() error {
	for _, name := range slices.Sorted(maps.Keys(p.values)) {
		if !slices.Contains(p.taken, name) {
			p.refuse("%.80q is unknown; known are: %s", name, strings.Join(p.taken, ", "))
		}
	}
	if len(p.wrong) > 0 {
		return badRequest(atMost(maxViolations, p.wrong)...)
	}
	return nil
}
