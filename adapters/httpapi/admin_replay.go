package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/evosink/evosink/core/queue"
)

// replayLetter is POST /admin/dead/{id}/replay.
func (a *API) replayLetter(w http.ResponseWriter, r *http.Request, q *queue.Queue) error {
	id, err := letterID(r)
	if err != nil {
		return err
	}
	if err := q.ReplayOne(r.Context(), id); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, replayed{Done: 1, Total: 1, Finished: true})
}

// replayed is a line of a replay's answer. The last one has finished or an error.
type replayed struct {
	Done     int     `json:"done"`
	Total    int     `json:"total"`
	Finished bool    `json:"finished"`
	Missing  []int64 `json:"missing,omitempty"` // ids that no dead letter has (any more)
	Error    string  `json:"error,omitempty"`   // why it did not finish; what is done stays done
}

// replayLetters is POST /admin/dead/replay. It answers with a line after each step. The replay ends with its request, and when the
// server shuts down.
func (a *API) replayLetters(w http.ResponseWriter, r *http.Request, q *queue.Queue) error {
	p, err := a.bodyParams(w, r)
	if err != nil {
		return err
	}
	ids, f, all := p.ids("ids"), p.letters(), p.flag("all")
	switch chosen := f != (queue.LetterFilter{}); {
	case ids == nil && !chosen && !all:
		p.refuse(`Say which dead letters to replay: "ids", or "sink", "target", "instance", "event", "reason", "error", or "all": true`)
	case ids != nil && (chosen || all):
		p.refuse(`"ids" stand alone: they need no other selection`)
	}
	if err := p.check(); err != nil {
		return err
	}
	ctx, cancel := a.untilDrained(r.Context())
	defer cancel()
	lines := &lines{w: w}
	last := replayed{}
	if ids != nil {
		last, err = replayIDs(ctx, q, ids, lines)
	} else {
		last.Done, err = q.Replay(ctx, f, func(done, total int) {
			last.Total = total
			if lines.write(replayed{Done: done, Total: total}) != nil {
				cancel() // nobody listens any more
			}
		})
	}
	if err != nil && !lines.begun {
		return err
	}
	last.Total, last.Finished = max(last.Total, last.Done), err == nil
	if err != nil {
		last.Error = a.whyUnfinished(ctx, err)
	}
	_ = lines.write(last) // whoever hung up does not want to know
	return nil
}

// replayIDs replays letters one by one.
func replayIDs(ctx context.Context, q *queue.Queue, ids []int64, to *lines) (replayed, error) {
	p := replayed{Total: len(ids)}
	for i, id := range ids {
		err := q.ReplayOne(ctx, id)
		switch {
		case errors.Is(err, queue.ErrNoLetter):
			p.Missing = append(p.Missing, id)
		case err != nil:
			return p, err
		default:
			p.Done++
		}
		if (i+1)%replayStep == 0 && i+1 < len(ids) {
			if err := to.write(replayed{Done: p.Done, Total: p.Total}); err != nil {
				return p, err
			}
		}
	}
	p.Total -= len(p.Missing)
	return p, nil
}

// replayStep is after how many ids there is a line.
const replayStep = 50

var errDraining = errors.New("the server is shutting down")

// untilDrained returns a context that ends also when the server begins to drain, which must not wait for it.
func (a *API) untilDrained(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { // ends with ctx, which the caller ends
		select {
		case <-a.draining:
			cancel(errDraining)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// whyUnfinished is for the caller's eyes; what is this side's fault is logged.
func (a *API) whyUnfinished(ctx context.Context, err error) string {
	switch {
	case errors.Is(context.Cause(ctx), errDraining), errors.Is(err, queue.ErrClosed):
		return "The server is shutting down; replay again for the rest"
	case ctx.Err() != nil:
		return "The request ended; replay again for the rest"
	}
	a.opts.Logger.Error().Err(err).Msg("a replay ended early")
	p := problemOf(err)
	if texts, ok := p.message.([]string); ok {
		return strings.Join(texts, "; ")
	}
	return fmt.Sprint(p.message)
}

// lines is an answer of one JSON value per line, each sent at once.
type lines struct {
	w     http.ResponseWriter
	begun bool // the status has been sent
}

func (l *lines) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", "application/x-ndjson")
		l.w.Header().Set("X-Accel-Buffering", "no") // nginx would keep the lines back
		l.w.WriteHeader(http.StatusOK)
	}
	if _, err := l.w.Write(append(line, '\n')); err != nil {
		return err
	}
	return http.NewResponseController(l.w).Flush()
}
