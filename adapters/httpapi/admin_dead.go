package httpapi

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
)

// letterRow is a dead letter.
type letterRow struct {
	ID int64 `json:"id"`
	lane
	Scope     string          `json:"scope"`
	EventID   string          `json:"eventId"`
	EventName string          `json:"eventName"`
	Reason    string          `json:"reason"`
	Attempts  int             `json:"attempts"`
	First     timestamp       `json:"first,omitzero"` // attempt
	Last      timestamp       `json:"last,omitzero"`
	Error     string          `json:"error,omitempty"`
	Died      timestamp       `json:"died"`
	Event     json.RawMessage `json:"event,omitempty"` // its envelope, without the instance's token
}

func letterRowOf(l queue.DeadLetter) letterRow {
	row := letterRow{
		ID: l.ID, lane: laneOf(l.LaneKey), Scope: l.Scope.String(), EventID: l.EventID, EventName: l.EventName, Reason: string(l.Reason),
		Attempts: l.Progress.Attempts, First: timestamp(l.First), Last: timestamp(l.Last), Error: l.Progress.Error, Died: timestamp(l.Died),
	}
	if l.Event != nil {
		row.Event = event.Codec{}.Append(nil, l.Event)
	}
	return row
}

// listLetters is GET /admin/dead.
func (a *API) listLetters(w http.ResponseWriter, r *http.Request, q *queue.Queue) error {
	p := queryParams(r)
	filter, limit := a.letters(r, p, q), p.limit()
	page := queue.Page{After: p.number("after", 1, math.MaxInt64, 0), Newest: p.choice("order", "newest", "newest", "oldest") == "newest"}
	if err := p.check(); err != nil {
		return err
	}
	page.Limit = limit + 1 // one more tells whether there is a next page
	letters, err := q.DeadLetters(r.Context(), filter, page)
	if err != nil {
		return err
	}
	answer := struct {
		Letters []letterRow `json:"letters"`
		Total   int         `json:"total"`
		Next    string      `json:"next,omitempty"`
	}{Letters: []letterRow{}}
	if answer.Total, err = q.CountDeadLetters(r.Context(), filter); err != nil {
		return err
	}
	if len(letters) > limit {
		letters = letters[:limit]
		answer.Next = strconv.FormatInt(letters[limit-1].ID, 10)
	}
	for _, l := range letters {
		answer.Letters = append(answer.Letters, letterRowOf(l))
	}
	return writeJSON(w, http.StatusOK, answer)
}

// showLetter is GET /admin/dead/{id}.
func (a *API) showLetter(w http.ResponseWriter, r *http.Request, q *queue.Queue) error {
	id, err := letterID(r)
	if err != nil {
		return err
	}
	l, err := q.DeadLetter(r.Context(), id)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, letterRowOf(l))
}

// letterID returns the id in the path.
func letterID(r *http.Request) (int64, error) {
	text := r.PathValue("id")
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 {
		return 0, noLetter(text)
	}
	return id, nil
}

// purgeLetters is DELETE /admin/dead.
func (a *API) purgeLetters(w http.ResponseWriter, r *http.Request, q *queue.Queue) error {
	p := queryParams(r)
	f, all := a.letters(r, p, q), p.flag("all")
	if f == (queue.DeadLetterFilter{}) && !all {
		p.refuse("Say which dead letters to remove for good: sink, target, instance, event, reason or error; or ?all=true for all of them")
	}
	if err := p.check(); err != nil {
		return err
	}
	return a.purgeDead(w, r, q, f)
}

// purgeLetter is DELETE /admin/dead/{id}.
func (a *API) purgeLetter(w http.ResponseWriter, r *http.Request, q *queue.Queue) error {
	id, err := letterID(r)
	if err != nil {
		return err
	}
	if _, err := q.DeadLetter(r.Context(), id); err != nil {
		return err
	}
	return a.purgeDead(w, r, q, queue.DeadLetterFilter{ID: id})
}

func (a *API) purgeDead(w http.ResponseWriter, r *http.Request, q *queue.Queue, f queue.DeadLetterFilter) error {
	line := letterSelection(a.audit(r, "dead.purge"), f)
	n, err := q.PurgeDeadLetters(r.Context(), f)
	line.Int("letters", n).AnErr("failed", err).Msg("dead letters were removed for good")
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, purged{n})
}
