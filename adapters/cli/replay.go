package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// progress is a line of the answer of POST /admin/dead/replay.
type progress struct {
	Done, Total int
	Finished    bool
	Missing     []int64
	Error       string
}

func (p progress) String() string {
	return fmt.Sprintf("%d of %s", p.Done, count(p.Total, "dead letter", "dead letters"))
}

func replayDead(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("dead replay", s).takes("rate")
	c, err := chosenDead(q, args, "replay")
	if err != nil {
		return err
	}
	rate := *q.texts["rate"]
	if n, err := strconv.Atoi(rate); rate != "" && (err != nil || n < 1) {
		return Usagef("--rate must be a number of dead letters per second, not %q", rate)
	}
	body := q.body()
	body["all"] = c.all
	if c.ids != nil {
		body = map[string]any{"ids": c.ids}
	}
	if rate != "" {
		body["rate"] = json.Number(rate)
	}
	if c.ids == nil && !c.yes {
		n, err := q.counted(ctx, "/admin/dead", "total")
		if err != nil {
			return err
		}
		if err := q.sure(ctx, env, n == 0, "Deliver %s again (%s)?", count(n, "dead letter", "dead letters"), q.selection()); err != nil {
			return err
		}
	}
	return q.follow(ctx, env, http.MethodPost, "/admin/dead/replay", body, "")
}

func watchReplay(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("dead watch", s)
	id, err := q.replayID(args)
	if err != nil {
		return err
	}
	return q.follow(ctx, env, http.MethodGet, "/admin/replays/"+id+"?follow=true", nil, id)
}

// replayID reads args, which name one replay.
func (q *question) replayID(args []string) (string, error) {
	if err := q.read(args); err != nil {
		return "", err
	}
	if len(q.words) != 1 || strings.Trim(q.words[0], "0123456789abcdef") != "" {
		return "", Usagef("give the id of one replay; evosink dead replays lists them")
	}
	return q.words[0], nil
}

// follow sends a request whose answer is a line for each step of a replay, and shows them to the end of the replay,
// which does not depend on that: it is the server's. With --json lines are printed as they come.
func (q *question) follow(ctx context.Context, env *Env, method, address string, body any, id string) error {
	c, err := newClient(q.server)
	if err != nil {
		return err
	}
	defer c.close()
	answer, err := c.open(ctx, method, address, nil, body)
	switch {
	case err != nil && ctx.Err() != nil && id == "":
		return errors.New("interrupted; the replay may have begun all the same: evosink dead replays lists it")
	case err != nil:
		return err
	}
	defer func() { _ = answer.Body.Close() }() // it was read, or is of no use
	if at, ok := strings.CutPrefix(answer.Header.Get("Location"), "/admin/replays/"); ok {
		id = at
	}
	last, err := q.show(env, answer.Body)
	goesOn := fmt.Sprintf("the replay goes on in the server. evosink dead watch %s follows it, evosink dead cancel %[1]s ends it", clean(id, 40))
	switch {
	case err != nil:
		return err
	case last.Error != "":
		return fmt.Errorf("%s were replayed: %s", last, clean(last.Error, 1000))
	case !last.Finished && ctx.Err() != nil:
		return fmt.Errorf("interrupted: %s so far; %s", last, goesOn)
	case !last.Finished && id != "":
		return errors.New("the answer broke off; " + goesOn)
	case !last.Finished:
		return errors.New("the answer broke off; what was replayed stays so, replay again for the rest")
	}
	return q.finished(env, last)
}

// show reads lines until there are no more, and returns the last. Without --json progress goes to where it is no part
// of the output: a bar on a terminal, else a line now and then.
func (q *question) show(env *Env, answer io.Reader) (last progress, err error) {
	lines := bufio.NewScanner(answer)
	lines.Buffer(nil, 1<<20)
	m := meter{env: env}
	defer m.end()
	for lines.Scan() {
		var next progress
		if err := json.Unmarshal(lines.Bytes(), &next); err != nil {
			return last, fmt.Errorf("the answer is not understood: %w", err)
		}
		last = next
		if q.json {
			if _, err := fmt.Fprintf(env.Stdout, "%s\n", lines.Bytes()); err != nil {
				return last, err
			}
			continue
		}
		if !last.Finished && last.Error == "" {
			m.tell(last)
		}
	}
	return last, nil // a line that broke off is seen by what it lacks
}

func (q *question) finished(env *Env, last progress) error {
	if !q.json {
		if _, err := fmt.Fprintf(env.Stdout, "replayed %s\n", count(last.Done, "dead letter", "dead letters")); err != nil {
			return err
		}
	}
	if len(last.Missing) > 0 {
		return fmt.Errorf("no dead letter has these ids (any more): %s", clean(strings.Trim(fmt.Sprint(last.Missing), "[]"), 200))
	}
	return nil
}

// A meter shows progress, and the rate and the time left as far as they can be told.
type meter struct {
	env   *Env
	first progress // the first that was seen, and when
	since time.Time
	told  time.Time
}

const (
	linePause = time.Second            // between two lines
	drawPause = 100 * time.Millisecond // between two bars
	barWidth  = 30
)

func (m *meter) tell(p progress) {
	now := time.Now()
	if m.since.IsZero() {
		m.first, m.since = p, now
	}
	text := fmt.Sprintf("%d of %d", p.Done, p.Total)
	if took := now.Sub(m.since).Seconds(); took > 0 && p.Done > m.first.Done {
		rate := float64(p.Done-m.first.Done) / took
		text += fmt.Sprintf(", %.0f/s, %s left", max(rate, 1), span(float64(p.Total-p.Done)/rate))
	}
	pause := linePause
	if m.env.Terminal {
		pause = drawPause
		full := barWidth * p.Done / max(p.Total, 1)
		text = "\r[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "] " + text + "\x1b[K" // and erases the rest of the line
	} else {
		text += "\n"
	}
	if now.Sub(m.told) >= pause {
		m.told = now
		_, _ = io.WriteString(m.env.Stderr, text) // progress that cannot be shown fails nothing
	}
}

// end takes the bar away.
func (m *meter) end() {
	if m.env.Terminal && !m.told.IsZero() {
		_, _ = io.WriteString(m.env.Stderr, "\r\x1b[K")
	}
}

// replayRow is a replay.
type replayRow struct {
	ID, State string
	progress
	Started, Ended time.Time
	IDs            int
	place
	Event, Reason, Match string
}

// selection tells what it is about.
func (r replayRow) selection() string {
	out := r.place.String()
	for _, part := range [][2]string{{"event", r.Event}, {"reason", r.Reason}, {"error", r.Match}} {
		if part[1] != "" {
			out += ", " + part[0] + " " + part[1]
		}
	}
	if r.IDs > 0 {
		out = count(r.IDs, "id", "ids")
	}
	return strings.TrimPrefix(out, "everything, ")
}

func listReplays(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("dead replays", s)
	if err := q.read(args); err != nil {
		return err
	}
	if err := NoWords(q.words); err != nil {
		return err
	}
	var answer struct{ Replays []replayRow }
	return q.ask(ctx, env, http.MethodGet, "/admin/replays", nil, nil, &answer, func(w io.Writer) error {
		if len(answer.Replays) == 0 {
			_, err := fmt.Fprintln(w, "no replay since the server has started")
			return err
		}
		t := newTable(w, "REPLAY", "STATE", "DONE", "OF", "SELECTION", "STARTED", "ENDED", "WHY")
		for _, r := range answer.Replays {
			t.row(r.ID, r.State, r.Done, r.Total, r.selection(), clock(r.Started), clock(r.Ended), r.Error)
		}
		return t.flush()
	})
}

func cancelReplay(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("dead cancel", s)
	id, err := q.replayID(args)
	if err != nil {
		return err
	}
	var answer replayRow
	return q.ask(ctx, env, http.MethodDelete, "/admin/replays/"+id, nil, nil, &answer, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s: %s were replayed\n", clean(answer.State, 20), answer.progress)
		return err
	})
}
