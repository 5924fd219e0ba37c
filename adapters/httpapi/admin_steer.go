package httpapi

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/evosink/evosink/core/queue"
)

// pause is POST /admin/queue/pause.
func (a *API) pause(w http.ResponseWriter, r *http.Request, q *queue.Queue) error {
	p, err := a.bodyParams(w, r)
	if err != nil {
		return err
	}
	s, all, reason := a.selector(r, p, q), p.flag("all"), p.text("reason")
	if s == (queue.Selector{}) && !all {
		p.refuse(`Say what to pause: "sink", "target", "instance", or "all": true`)
	}
	if err := p.check(); err != nil {
		return err
	}
	if err := q.Pause(r.Context(), s, reason); err != nil {
		return err
	}
	answer := struct {
		Pause   pauseRow `json:"pause"`
		Lanes   int      `json:"lanes"`
		Waiting int      `json:"waiting"`
	}{Pause: pauseRowOf(queue.Pause{Selector: s, Reason: reason, At: time.Now()})}
	for _, l := range q.Backlog(s) {
		answer.Lanes++
		answer.Waiting += l.Waiting
	}
	selection(a.audit(r, "queue.pause"), s).Int("deliveries", answer.Waiting).Msg("deliveries are paused")
	return writeJSON(w, http.StatusOK, answer)
}

func (a *API) sinkNames() (names []string) {
	for _, f := range a.opts.Sinks {
		names = append(names, f.Name)
	}
	return names
}

// resume is POST /admin/queue/resume. It ends the pause of exactly that selection, and tells which others hold a part
// of it still.
func (a *API) resume(w http.ResponseWriter, r *http.Request, q *queue.Queue) error {
	p, err := a.bodyParams(w, r)
	if err != nil {
		return err
	}
	s, all := a.selector(r, p, q), p.flag("all")
	p.text("reason") // a pause can be sent back as it was answered
	if s == (queue.Selector{}) && !all {
		p.refuse(`Say what to resume: "sink", "target", "instance", or "all": true for the pause of everything`)
	}
	if err := p.check(); err != nil {
		return err
	}
	was := slices.ContainsFunc(q.Pauses(), func(p queue.Pause) bool { return p.Selector == s })
	if err := q.Resume(r.Context(), s); err != nil {
		return err
	}
	if was {
		selection(a.audit(r, "queue.resume"), s).Msg("a pause was ended")
	}
	return writeJSON(w, http.StatusOK, struct {
		Resumed bool       `json:"resumed"`
		Pauses  []pauseRow `json:"pauses"`
	}{was, pausesOf(q, s)})
}

// purgeLanes is DELETE /admin/queue.
func (a *API) purgeLanes(w http.ResponseWriter, r *http.Request, q *queue.Queue) error {
	p := queryParams(r)
	s, all := a.selector(r, p, q), p.flag("all")
	if s.Sink == "" && !all {
		p.refuse("Say whose deliveries to remove for good: ?sink=NAME, and maybe target and instance; or ?all=true for all sinks")
	}
	if err := p.check(); err != nil {
		return err
	}
	line := selection(a.audit(r, "queue.purge"), s)
	n, err := q.Purge(r.Context(), s)
	line.Int("deliveries", n).AnErr("failed", err).Msg("waiting deliveries were removed for good")
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, purged{n})
}

// pausesOf returns the pauses that hold any lane of a selection, sorted.
func pausesOf(q *queue.Queue, s queue.Selector) []pauseRow {
	out := []pauseRow{}
	for _, p := range q.Pauses() {
		if meet(s.Sink, p.Sink) && meet(string(s.Target), string(p.Target)) && meet(s.Instance, p.Instance) {
			out = append(out, pauseRowOf(p))
		}
	}
	slices.SortFunc(out, func(a, b pauseRow) int {
		return cmp.Or(cmp.Compare(a.Sink, b.Sink), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Instance, b.Instance))
	})
	return out
}

// meet reports whether two fields of selectors have a value in common.
func meet(a, b string) bool { return a == "" || b == "" || a == b }
