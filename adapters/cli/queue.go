package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const selection = "[--sink NAME] [--target NAME] [--instance NAME]"

func queueCommands(s Server) []Command {
	list := func(ctx context.Context, env *Env, args []string) error { return listQueue(ctx, env, s, args) }
	const listUsage = selection + " [--limit N] [--after PLACE]" + everywhere
	return []Command{
		{Name: "queue", Summary: "List what waits, by sink, target and instance (as queue list does)", Usage: listUsage, Run: list},
		{Name: "queue list", Summary: "List what waits, by sink, target and instance", Usage: listUsage, Run: list},
		{
			Name: "queue pause", Summary: "Keep deliveries waiting until they are resumed", Usage: "(" + selection + " | --all) [--reason TEXT]" + everywhere,
			Run: func(ctx context.Context, env *Env, args []string) error { return pauseQueue(ctx, env, s, args) },
		},
		{
			Name: "queue resume", Summary: "End the pause of exactly that selection", Usage: "(" + selection + " | --all)" + everywhere,
			Run: func(ctx context.Context, env *Env, args []string) error { return resumeQueue(ctx, env, s, args) },
		},
		{
			Name: "queue purge", Summary: "Remove deliveries that wait, for good", Usage: "(" + selection + " | --all) [--yes]" + everywhere,
			Run: func(ctx context.Context, env *Env, args []string) error { return purgeQueue(ctx, env, s, args) },
		},
		{
			Name: "attempts", Summary: "List the attempts to deliver an event", Usage: "EVENT-ID [--limit N] [--after PLACE]" + everywhere,
			Run: func(ctx context.Context, env *Env, args []string) error { return listAttempts(ctx, env, s, args) },
		},
	}
}

// place is where deliveries wait, or waited; of a pause a part may be missing.
type place struct{ Sink, Target, Instance string }

func (p place) String() string {
	var parts []string
	for _, part := range [][2]string{{"sink", p.Sink}, {"target", p.Target}, {"instance", p.Instance}} {
		if part[1] != "" {
			parts = append(parts, part[0]+" "+clean(part[1], maxCell))
		}
	}
	if parts == nil {
		return "everything"
	}
	return strings.Join(parts, ", ")
}

// pauseRow is a pause.
type pauseRow struct {
	place
	Reason string
	At     time.Time
}

func (p pauseRow) String() string {
	out := fmt.Sprintf("%s (since %s", p.place, clock(p.At))
	if p.Reason != "" {
		out += ": " + clean(p.Reason, 200)
	}
	return out + ")"
}

// lanes is the answer of GET /admin/queue.
type lanes struct {
	Lanes []struct {
		place
		State, Why, LastError string
		Until                 time.Time
		Waiting               int
		Age                   float64
	}
	Pauses         []pauseRow
	Total, Waiting int
	Next           string
}

func listQueue(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("queue list", s).takes("sink", "target", "instance", "limit", "after")
	if err := q.read(args); err != nil {
		return err
	}
	if err := NoWords(q.words); err != nil {
		return err
	}
	var answer lanes
	err := q.ask(ctx, env, http.MethodGet, "/admin/queue", q.parameters(), nil, &answer, func(w io.Writer) error { return answer.print(w) })
	more(env, answer.Next)
	return err
}

func (l lanes) print(w io.Writer) error {
	if l.Total > 0 {
		t := newTable(w, "SINK", "TARGET", "INSTANCE", "WAITING", "OLDEST", "STATE", "LAST ERROR")
		for _, row := range l.Lanes {
			state := row.State
			switch {
			case !row.Until.IsZero():
				state += " until " + clock(row.Until)
			case row.Why != "":
				state += ": " + row.Why
			}
			t.row(row.Sink, row.Target, row.Instance, row.Waiting, span(row.Age), state, row.LastError)
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	for _, p := range l.Pauses {
		if _, err := fmt.Fprintln(w, "paused:", p); err != nil {
			return err
		}
	}
	verb := "wait"
	if l.Waiting == 1 {
		verb = "waits"
	}
	_, err := fmt.Fprintf(w, "%s %s in %s\n", count(l.Waiting, "delivery", "deliveries"), verb, count(l.Total, "lane", "lanes"))
	return err
}

// selected reads the flags of a command that changes what is selected; without a selection it needs --all. --yes says
// not to ask.
func selected(q *question, args []string, what string) (all, yes bool, err error) {
	q.BoolVar(&all, "all", false, "")
	q.BoolVar(&yes, "yes", false, "")
	if err := q.read(args); err != nil {
		return false, false, err
	}
	if err := NoWords(q.words); err != nil {
		return false, false, err
	}
	if *q.texts["sink"] == "" && *q.texts["target"] == "" && *q.texts["instance"] == "" && !all {
		return false, false, Usagef("say what to %s with --sink, --target or --instance, or give --all for everything", what)
	}
	return all, yes, nil
}

func pauseQueue(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("queue pause", s).takes("sink", "target", "instance", "reason")
	all, _, err := selected(q, args, "pause")
	if err != nil {
		return err
	}
	body := q.body()
	body["all"] = all
	var answer struct {
		Pause          pauseRow
		Lanes, Waiting int
	}
	return q.ask(ctx, env, http.MethodPost, "/admin/queue/pause", nil, body, &answer, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "paused: %s; it holds %s in %s\n", answer.Pause.place,
			count(answer.Waiting, "delivery", "deliveries"), count(answer.Lanes, "lane", "lanes"))
		return err
	})
}

func resumeQueue(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("queue resume", s).takes("sink", "target", "instance")
	all, _, err := selected(q, args, "resume")
	if err != nil {
		return err
	}
	body := q.body()
	body["all"] = all
	var answer struct {
		Resumed bool
		Pauses  []pauseRow
	}
	return q.ask(ctx, env, http.MethodPost, "/admin/queue/resume", nil, body, &answer, func(w io.Writer) error {
		var still strings.Builder
		for _, p := range answer.Pauses {
			fmt.Fprintf(&still, "\nstill paused: %s", p)
		}
		if !answer.Resumed {
			return fmt.Errorf("nothing is paused by exactly that selection%s", &still)
		}
		_, err := fmt.Fprintf(w, "resumed%s\n", &still)
		return err
	})
}

func purgeQueue(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("queue purge", s).takes("sink", "target", "instance")
	all, yes, err := selected(q, args, "remove")
	if err != nil {
		return err
	}
	if *q.texts["sink"] == "" && !all {
		return Usagef("say of which sink with --sink, or give --all for the deliveries of all sinks")
	}
	waiting := 0
	if !yes {
		if waiting, err = q.counted(ctx, "/admin/queue", "waiting"); err != nil {
			return err
		}
	}
	if err := q.sure(ctx, env, yes || waiting == 0, "Remove %s for good (%s)?", count(waiting, "delivery", "deliveries"), q.selection()); err != nil {
		return err
	}
	query := q.parameters()
	if all {
		query.Set("all", "true")
	}
	return q.purge(ctx, env, "/admin/queue", query, "delivery", "deliveries")
}

// purge sends a DELETE and prints how many there were.
func (q *question) purge(ctx context.Context, env *Env, path string, query url.Values, noun, nouns string) error {
	var answer struct{ Purged int }
	return q.ask(ctx, env, http.MethodDelete, path, query, nil, &answer, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "removed %s\n", count(answer.Purged, noun, nouns))
		return err
	})
}
