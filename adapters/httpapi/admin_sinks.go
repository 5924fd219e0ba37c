package httpapi

import (
	"context"
	"net/http"

	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// sinkRow is a sink of the build.
type sinkRow struct {
	Name           string    `json:"name"`
	Mode           string    `json:"mode"` // "live" or "queued"
	Enabled        bool      `json:"enabled"`
	Healthy        bool      `json:"healthy"`
	ConnectedSince timestamp `json:"connectedSince,omitzero"` // only of sinks that hold a connection
	Waiting        int       `json:"waiting"`
	Lanes          int       `json:"lanes"`
	Oldest         timestamp `json:"oldest,omitzero"`
	Age            float64   `json:"age"` // of the oldest, in seconds
	Unavailable    int       `json:"unavailable"`
	Paused         bool      `json:"paused"` // as a whole
	Pauses         int       `json:"pauses"` // that hold it or a part of it
	LastError      string    `json:"lastError,omitempty"`
	LastErrorAt    timestamp `json:"lastErrorAt,omitzero"`
}

// listSinks is GET /admin/sinks.
func (a *API) listSinks(w http.ResponseWriter, r *http.Request) error {
	if err := queryParams(r).check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	now := a.look(ctx)
	rows := make([]sinkRow, 0, len(a.opts.Sinks))
	for _, f := range a.opts.Sinks {
		rows = append(rows, now.row(f))
	}
	return writeJSON(w, http.StatusOK, map[string]any{"sinks": rows})
}

// A snapshot is what the hub and its queue tell of this moment.
type snapshot struct {
	health map[string]error
	hub    core.Stats
	queues []queue.Stats
	pauses []queue.Pause
}

// look asks all there is to ask; ctx bounds the checks of sinks.
func (a *API) look(ctx context.Context) (s snapshot) {
	if a.opts.SinkHealth != nil {
		s.health = a.opts.SinkHealth(ctx)
	}
	if a.opts.Stats != nil {
		s.hub = a.opts.Stats()
	}
	if a.opts.Queue != nil {
		s.queues, s.pauses = a.opts.Queue.Stats(), a.opts.Queue.Pauses()
	}
	return s
}

// row tells of one sink. What waits is shown also for one that is switched off.
func (s snapshot) row(f *sink.Factory) sinkRow {
	row := sinkRow{Name: f.Name, Mode: f.Mode.String(), Enabled: f.Enabled()}
	for _, h := range s.hub.Sinks {
		if h.Name == f.Name {
			row.ConnectedSince = timestamp(h.Connected)
			row.fail(h.LastError)
		}
	}
	for _, q := range s.queues {
		if q.Sink == f.Name {
			row.Waiting, row.Lanes, row.Unavailable = q.Waiting, q.Lanes, q.Open
			row.Oldest, row.Age = timestamp(q.Oldest), inSeconds(q.Lag)
			if q.LastError != "" {
				row.LastError, row.LastErrorAt = q.LastError, timestamp(q.FailedAt)
			}
		}
	}
	for _, p := range s.pauses {
		if meet(p.Sink, f.Name) {
			row.Pauses++
			row.Paused = row.Paused || p.Target == "" && p.Instance == ""
		}
	}
	row.Healthy = row.Enabled && s.health[f.Name] == nil
	row.fail(s.health[f.Name])
	return row
}

// fail shows an error in place of what was shown before.
func (row *sinkRow) fail(err error) {
	if err != nil {
		row.LastError, row.LastErrorAt = err.Error(), timestamp{}
	}
}
