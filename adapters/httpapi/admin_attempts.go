package httpapi

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/evosink/evosink/core/queue"
)

// attemptRow is an entry of the log of attempts.
type attemptRow struct {
	lane
	Number int       `json:"number"`
	At     timestamp `json:"at"`
	Took   float64   `json:"took"` // seconds
	Status string    `json:"status,omitempty"`
	Error  string    `json:"error,omitempty"`
	Head   string    `json:"head,omitempty"` // how the answer began
}

// listAttempts is GET /admin/queue/attempts/{event}. The log grows at its end only, so the place in it is a number.
func (a *API) listAttempts(w http.ResponseWriter, r *http.Request, q *queue.Queue) error {
	p := queryParams(r)
	limit, after := p.limit(), int(p.number("after", 0, 1<<31, 0))
	if err := p.check(); err != nil {
		return err
	}
	all, err := q.Attempts(r.Context(), r.PathValue("event"))
	if err != nil {
		return err
	}
	answer := struct {
		Attempts []attemptRow `json:"attempts"`
		Total    int          `json:"total"`
		Next     string       `json:"next,omitempty"`
	}{Attempts: []attemptRow{}, Total: len(all)}
	start := min(after, len(all))
	end := min(start+limit, len(all))
	if end < len(all) {
		answer.Next = strconv.Itoa(end)
	}
	for _, t := range all[start:end] {
		answer.Attempts = append(answer.Attempts, attemptRow{
			lane: laneOf(t.LaneKey), Number: t.Number, At: timestamp(t.At), Took: inSeconds(t.Took),
			Status: t.Status, Error: t.Error, Head: strings.ToValidUTF8(string(t.Head), "\ufffd"),
		})
	}
	return writeJSON(w, http.StatusOK, answer)
}
