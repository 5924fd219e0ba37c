package httpapi

import (
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/evosink/evosink/core/queue"
)

// adminRoutes are for the operator. They have a prefix of their own, so that no sink, whatever its
// name, gets in their way, and so that a proxy can keep them from the outside by one rule.
func (a *API) adminRoutes() []route {
	return []route{
		{"GET", "/admin/sinks", a.admin(a.listSinks)},
		{"GET", "/admin/queue", a.queued(a.listLanes)},
		{"DELETE", "/admin/queue", a.queued(a.purgeLanes)},
		{"POST", "/admin/queue/pause", a.queued(a.pause)},
		{"POST", "/admin/queue/resume", a.queued(a.resume)},
		{"GET", "/admin/queue/attempts/{event}", a.queued(a.listAttempts)},
		{"GET", "/admin/dead", a.queued(a.listLetters)},
		{"DELETE", "/admin/dead", a.queued(a.purgeLetters)},
		{"POST", "/admin/dead/replay", a.queued(a.replayLetters)},
		{"GET", "/admin/dead/{id}", a.queued(a.showLetter)},
		{"DELETE", "/admin/dead/{id}", a.queued(a.purgeLetter)},
		{"POST", "/admin/dead/{id}/replay", a.queued(a.replayLetter)},
		{"GET", "/admin/replays", a.queued(a.listReplays)},
		{"GET", "/admin/replays/{id}", a.queued(a.showReplay)},
		{"DELETE", "/admin/replays/{id}", a.queued(a.cancelReplay)},
	}
}

// admin lets in the holder of the global key only.
func (a *API) admin(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := a.forGlobal(r); err != nil {
			return err
		}
		return h(w, r)
	}
}

// A queueHandler answers a request about the queue, which is there.
type queueHandler func(w http.ResponseWriter, r *http.Request, q *queue.Queue) error

// queued is admin for what needs a queue.
func (a *API) queued(h queueHandler) handler {
	return a.admin(func(w http.ResponseWriter, r *http.Request) error {
		if a.opts.Queue == nil {
			return &problem{status: http.StatusConflict, message: []string{
				"There is no delivery queue: no sink is enabled that needs one. GET /admin/sinks lists the sinks",
			}}
		}
		return h(w, r, a.opts.Queue)
	})
}

// timestamp is a time as the API shows it; one that never was is left out (omitzero).
type timestamp time.Time

// IsZero is for encoding/json.
func (t timestamp) IsZero() bool { return time.Time(t).IsZero() }

// MarshalText writes RFC 3339.
func (t timestamp) MarshalText() ([]byte, error) { return []byte(stamp(time.Time(t))), nil }

// inSeconds is a duration as the API shows it, to the millisecond. What is negative because a clock was set is 0.
func inSeconds(d time.Duration) float64 {
	return math.Round(max(0, d.Seconds())*1000) / 1000
}

// lane is where deliveries wait, or waited.
type lane struct {
	Sink     string `json:"sink"`
	Target   string `json:"target"`
	Instance string `json:"instance"`
}

func laneOf(l queue.LaneKey) lane { return lane{l.Sink, string(l.Target), l.Instance} }

// pauseRow is a pause; a field that is missing stands for all.
type pauseRow struct {
	Sink     string    `json:"sink,omitempty"`
	Target   string    `json:"target,omitempty"`
	Instance string    `json:"instance,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	At       timestamp `json:"at"`
}

func pauseRowOf(p queue.Pause) pauseRow {
	return pauseRow{p.Sink, string(p.Target), p.Instance, p.Reason, timestamp(p.At)}
}

// purged is the answer to a purge.
type purged struct {
	Purged int `json:"purged"`
}

// noLetter is the answer to an id that no dead letter has.
func noLetter(id string) *problem {
	return notFound(fmt.Sprintf("There is no dead letter %.40s (any more)", id))
}
