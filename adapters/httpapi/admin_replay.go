package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/time/rate"

	"github.com/evosink/evosink/core/queue"
)

// replayLetter is POST /admin/dead/{id}/replay.
func (a *API) replayLetter(w http.ResponseWriter, r *http.Request, q *queue.Queue) error {
	id, err := letterID(r)
	if err != nil {
		return err
	}
	if err := q.RequeueOne(r.Context(), id); err != nil {
		return err
	}
	a.audit(r, "dead.replay").Int64("letter", id).Int("letters", 1).Msg("a dead letter was put back")
	return writeJSON(w, http.StatusOK, replayed{Done: 1, Total: 1, Finished: true})
}

// replayLetters is POST /admin/dead/replay. It starts a job that goes on when the request ends, and answers with a line
// after each step, or with wait=false with 202 and the job at once. Location names the job in either case.
func (a *API) replayLetters(w http.ResponseWriter, r *http.Request, q *queue.Queue) error {
	p, err := a.bodyParams(w, r)
	if err != nil {
		return err
	}
	ids, f, all := p.ids("ids"), a.letters(r, p, q), p.flag("all")
	rate, wait := p.number("rate", 1, maxReplayRate, 0), p.choice("wait", "true", "true", "false") == "true"
	switch chosen := f != (queue.DeadLetterFilter{}); {
	case ids == nil && !chosen && !all:
		p.refuse(`Say which dead letters to replay: "ids", or "sink", "target", "instance", "event", "reason", "error", or "all": true`)
	case ids != nil && (chosen || all):
		p.refuse(`"ids" stand alone: they need no other selection`)
	}
	if err := p.check(); err != nil {
		return err
	}
	j := newReplay(ids, f, int(rate))
	steps, stop, _ := j.follow() // the first one is never too many
	defer stop()
	if err := a.replays.add(j); err != nil {
		return err
	}
	line := a.audit(r, "replay.start").Str("replay", j.id)
	if ids != nil {
		line.Int("ids", len(ids))
	} else {
		letterSelection(line, f)
	}
	line.Msg("a replay of dead letters begins")
	a.inflight.Begin() // so that a drain waits for the job too
	go a.runReplay(j, q)
	w.Header().Set("Location", "/admin/replays/"+j.id)
	if !wait {
		return writeJSON(w, http.StatusAccepted, j.row())
	}
	lines := &lines{w: w}
	if !j.stream(r.Context(), lines, steps) {
		return nil
	}
	last, err := j.result()
	if err != nil && !lines.begun && !errors.Is(err, context.Canceled) {
		return err // it failed before its first step: an error answer like any other
	}
	_ = lines.write(last) // the client may have hung up
	return nil
}

// maxReplayRate bounds the rate of a replay, in letters per second.
const maxReplayRate = 1_000_000

// runReplay does the job. What is this side's fault is logged here.
func (a *API) runReplay(j *replay, q *queue.Queue) {
	defer a.inflight.End()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() { // ends with ctx
		select {
		case <-a.draining:
			cancel(errDraining)
		case <-j.cancelled:
			cancel(errCancelled)
		case <-ctx.Done():
		}
	}()
	var last replayed
	var err error
	if j.ids != nil {
		last, err = replayIDs(ctx, q, j)
	} else {
		last.Done, err = q.RequeueAt(ctx, j.filter, j.rate, func(done, total int) {
			last.Total = total
			j.step(done, total)
		})
	}
	last.Total, last.Finished = max(last.Total, last.Done), err == nil
	line := a.changes.Info()
	if err != nil {
		last.Error = a.whyUnfinished(ctx, err)
		line = a.changes.Warn().Str("why", last.Error)
	}
	line.Str("action", "replay.end").Str("replay", j.id).Int("letters", last.Done).Int("of", last.Total).
		Msg("a replay of dead letters has ended; those that were not put back are dead letters still")
	j.end(last, err)
}

// replayIDs replays letters one by one.
func replayIDs(ctx context.Context, q *queue.Queue, j *replay) (replayed, error) {
	p := replayed{Total: len(j.ids)}
	pace := rate.NewLimiter(rate.Inf, 0)
	if j.rate > 0 {
		pace = rate.NewLimiter(rate.Limit(j.rate), min(j.rate, replayStep))
	}
	for i, id := range j.ids {
		err := pace.Wait(ctx)
		if err == nil {
			err = q.RequeueOne(ctx, id)
		}
		switch {
		case errors.Is(err, queue.ErrNoDeadLetter):
			p.Missing = append(p.Missing, id)
		case err != nil:
			return p, err
		default:
			p.Done++
		}
		if (i+1)%replayStep == 0 && i+1 < len(j.ids) {
			j.step(p.Done, p.Total)
		}
	}
	p.Total -= len(p.Missing)
	return p, nil
}

// replayStep is after how many ids there is a line.
const replayStep = 50

var (
	errDraining  = errors.New("the server is shutting down")
	errCancelled = errors.New("the replay was cancelled")
)

// whyUnfinished is for the caller's eyes; what is this side's fault is logged.
func (a *API) whyUnfinished(ctx context.Context, err error) string {
	switch {
	case errors.Is(context.Cause(ctx), errCancelled):
		return "It was cancelled; replay again for the rest"
	case errors.Is(context.Cause(ctx), errDraining), errors.Is(err, queue.ErrClosed):
		return "The server is shutting down; replay again for the rest"
	}
	a.opts.Logger.Error().Err(err).Msg("a replay ended early")
	p := problemOf(err)
	if texts, ok := p.message.([]string); ok {
		return strings.Join(texts, "; ")
	}
	return fmt.Sprint(p.message)
}

// listReplays is GET /admin/replays, the newest first.
func (a *API) listReplays(w http.ResponseWriter, r *http.Request, _ *queue.Queue) error {
	if err := queryParams(r).check(); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"replays": a.replays.rows()})
}

// showReplay is GET /admin/replays/{id}: the job, or with follow=true a line for each step from now on.
func (a *API) showReplay(w http.ResponseWriter, r *http.Request, _ *queue.Queue) error {
	p := queryParams(r)
	follow := p.flag("follow")
	if err := p.check(); err != nil {
		return err
	}
	j, err := a.replays.get(r.PathValue("id"))
	if err != nil {
		return err
	}
	if !follow {
		return writeJSON(w, http.StatusOK, j.row())
	}
	steps, stop, err := j.follow()
	if err != nil {
		return err
	}
	defer stop()
	lines := &lines{w: w}
	if j.stream(r.Context(), lines, steps) {
		last, _ := j.result() // the line says why it failed
		_ = lines.write(last) // the client may have hung up
	}
	return nil
}

// cancelReplay is DELETE /admin/replays/{id}. It answers when the job has ended. What was put back stays so.
func (a *API) cancelReplay(w http.ResponseWriter, r *http.Request, _ *queue.Queue) error {
	if err := queryParams(r).check(); err != nil {
		return err
	}
	j, err := a.replays.get(r.PathValue("id"))
	if err != nil {
		return err
	}
	if j.cancel() {
		a.audit(r, "replay.cancel").Str("replay", j.id).Msg("a replay of dead letters is cancelled")
	}
	select {
	case <-j.done:
	case <-r.Context().Done():
	}
	return writeJSON(w, http.StatusOK, j.row())
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
