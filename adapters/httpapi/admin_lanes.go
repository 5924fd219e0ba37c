package httpapi

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// laneRow is a lane in which deliveries wait.
type laneRow struct {
	lane
	Scope       string    `json:"scope"`
	State       string    `json:"state"`         // "running", "waiting", "asleep", "parked", "paused"
	Why         string    `json:"why,omitempty"` // it is asleep, parked or paused, or does not get its turn
	Until       timestamp `json:"until,omitzero"`
	Waiting     int       `json:"waiting"`
	Oldest      timestamp `json:"oldest,omitzero"`
	Age         float64   `json:"age"` // of the oldest, in seconds
	Attempts    int       `json:"attempts"`
	LastAttempt timestamp `json:"lastAttempt,omitzero"`
	LastError   string    `json:"lastError,omitempty"`
	Breaker     string    `json:"breaker,omitempty"`
	Pause       *pauseRow `json:"pause,omitempty"`
}

func laneRowOf(l queue.LaneStatus, now time.Time) laneRow {
	row := laneRow{
		lane: laneOf(l.LaneKey), Scope: l.Scope.String(), State: l.State, Waiting: l.Waiting,
		Oldest: timestamp(l.Oldest), Age: inSeconds(now.Sub(l.Oldest)),
		Attempts: l.Head.Attempts, LastAttempt: timestamp(l.Head.Last), LastError: l.Head.Error, Breaker: l.Breaker,
	}
	row.explain(l)
	return row
}

// explain tells the state of a lane in the words of this API. A pause comes before all else, except for an attempt that
// runs.
func (row *laneRow) explain(l queue.LaneStatus) {
	if l.Paused != nil {
		p := pauseRowOf(*l.Paused)
		row.Pause = &p
	}
	switch {
	case l.State == "running":
	case l.Paused != nil:
		row.State, row.Why = "paused", l.Paused.Reason
	case l.State == "waiting":
		row.State, row.Until, row.Why = "asleep", timestamp(l.Head.Next), "until its next attempt"
	case l.State == "parked" && l.Breaker == "":
		row.Why = "no sink of that name is enabled"
	case l.State == "parked":
		row.Why = "its settings, or those of the sink, are switched off"
	default:
		row.State = "waiting"
		if l.Breaker == "open" {
			row.Why = "its address is unavailable; it is probed again soon"
		}
	}
}

// listLanes is GET /admin/queue.
func (a *API) listLanes(w http.ResponseWriter, r *http.Request, q *queue.Queue) error {
	p := queryParams(r)
	selector, limit, after := a.selector(r, p, q), p.limit(), p.text("after")
	start, err := readPlace(after)
	if err != nil {
		p.refuse("%v", err)
	}
	if err := p.check(); err != nil {
		return err
	}
	lines := q.Backlog(selector)
	answer := struct {
		Lanes   []laneRow  `json:"lanes"`
		Pauses  []pauseRow `json:"pauses"`
		Total   int        `json:"total"`   // lanes
		Waiting int        `json:"waiting"` // deliveries in them
		Next    string     `json:"next,omitempty"`
	}{Lanes: []laneRow{}, Pauses: pausesOf(q, selector), Total: len(lines)}
	for _, l := range lines {
		answer.Waiting += l.Waiting
	}
	if after != "" {
		lines = lines[firstBehind(lines, start):]
	}
	if len(lines) > limit {
		last := lines[limit-1].LaneKey
		if next := lines[limit].LaneKey; next.Sink != last.Sink || next.Target != last.Target || next.Instance != last.Instance {
			last.InstanceID = ""
		}
		lines = lines[:limit]
		answer.Next = writePlace(last)
	}
	now := time.Now()
	for _, l := range lines {
		answer.Lanes = append(answer.Lanes, laneRowOf(l, now))
	}
	return writeJSON(w, http.StatusOK, answer)
}

// firstBehind returns the index of the first of sorted lines that comes behind l, which need not be among them any
// more.
func firstBehind(lines []queue.LaneStatus, l queue.LaneKey) int {
	i, found := slices.BinarySearchFunc(lines, l, func(a queue.LaneStatus, b queue.LaneKey) int { return compareLanes(a.LaneKey, b) })
	if found {
		i++
	}
	return i
}

// compareLanes is the order of [queue.Queue.Backlog].
func compareLanes(a, b queue.LaneKey) int {
	return cmp.Or(cmp.Compare(a.Sink, b.Sink), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Instance, b.Instance),
		cmp.Compare(a.InstanceID, b.InstanceID))
}

// writePlace returns the place in the list behind l, for clients to give back and not to look into. Without an instance
// id it is behind all lanes of that name.
func writePlace(l queue.LaneKey) string {
	parts := []string{l.Sink, string(l.Target), l.Instance}
	if l.InstanceID != "" {
		parts = append(parts, l.InstanceID)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(parts, "\x00")))
}

func readPlace(text string) (queue.LaneKey, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	parts := strings.Split(string(raw), "\x00")
	if text != "" && (err != nil || len(parts) < 3 || len(parts) > 4) {
		return queue.LaneKey{}, fmt.Errorf(`"after" must be the "next" of the page before, not %.40q`, text)
	}
	if text == "" {
		return queue.LaneKey{}, nil
	}
	const behindAll = "\xff" // no id sorts behind it
	parts = append(parts, behindAll)
	return queue.LaneKey{Sink: parts[0], Target: sink.Target(parts[1]), Instance: parts[2], InstanceID: parts[3]}, nil
}
