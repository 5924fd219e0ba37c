package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

const letterSelection = selection + " [--event EVENT-ID] [--reason REASON] [--error TEXT]"

func deadCommands(s Server) []Command {
	return []Command{
		{
			Name: "dead list", Summary: "List dead letters: deliveries that were given up", Usage: letterSelection + " [--order newest|oldest] [--limit N] [--after ID]" + everywhere,
			Run: func(ctx context.Context, env *Env, args []string) error { return listDead(ctx, env, s, args) },
		},
		{
			Name: "dead show", Summary: "Show a dead letter with its event", Usage: "ID" + everywhere,
			Run: func(ctx context.Context, env *Env, args []string) error { return showDead(ctx, env, s, args) },
		},
		{
			Name: "dead replay", Summary: "Deliver dead letters again, by a job of the server", Usage: "(ID... | " + letterSelection + " | --all) [--rate PER-SECOND] [--yes]" + everywhere,
			Run: func(ctx context.Context, env *Env, args []string) error { return replayDead(ctx, env, s, args) },
		},
		{
			Name: "dead purge", Summary: "Remove dead letters for good", Usage: "(ID... | " + letterSelection + " | --all) [--yes]" + everywhere,
			Run: func(ctx context.Context, env *Env, args []string) error { return purgeDead(ctx, env, s, args) },
		},
		{
			Name: "dead replays", Summary: "List the replays under way, and the last ones", Usage: everywhere[1:],
			Run: func(ctx context.Context, env *Env, args []string) error { return listReplays(ctx, env, s, args) },
		},
		{
			Name: "dead watch", Summary: "Follow a replay to its end", Usage: "REPLAY" + everywhere,
			Run: func(ctx context.Context, env *Env, args []string) error { return watchReplay(ctx, env, s, args) },
		},
		{
			Name: "dead cancel", Summary: "End a replay early; what was put back stays so", Usage: "REPLAY" + everywhere,
			Run: func(ctx context.Context, env *Env, args []string) error { return cancelReplay(ctx, env, s, args) },
		},
	}
}

// letterFlags are the filters of dead letters.
var letterFlags = []string{"sink", "target", "instance", "event", "reason", "error"}

// letter is a dead letter.
type letter struct {
	ID int64
	place
	Scope, EventID, EventName, Reason, Error string
	Attempts                                 int
	First, Last, Died                        time.Time
	Event                                    json.RawMessage
}

// letters is the answer of GET /admin/dead.
type letters struct {
	Letters []letter
	Total   int
	Next    string
}

func listDead(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("dead list", s).takes(letterFlags...).takes("order", "limit", "after")
	if err := q.read(args); err != nil {
		return err
	}
	if err := NoWords(q.words); err != nil {
		return err
	}
	var answer letters
	err := q.ask(ctx, env, http.MethodGet, "/admin/dead", q.parameters(), nil, &answer, func(w io.Writer) error { return answer.print(w) })
	more(env, answer.Next)
	return err
}

func (l letters) print(w io.Writer) error {
	if len(l.Letters) > 0 {
		t := newTable(w, "ID", "DIED", "SINK", "TARGET", "INSTANCE", "EVENT", "EVENT ID", "REASON", "ATTEMPTS", "ERROR")
		for _, row := range l.Letters {
			t.row(row.ID, clock(row.Died), row.Sink, row.Target, row.Instance, row.EventName, row.EventID, row.Reason, row.Attempts, row.Error)
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w, count(l.Total, "dead letter", "dead letters"))
	return err
}

func showDead(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("dead show", s)
	if err := q.read(args); err != nil {
		return err
	}
	ids, err := q.ids()
	if err != nil {
		return err
	}
	if len(ids) != 1 {
		return Usagef("give the id of one dead letter")
	}
	var answer letter
	return q.ask(ctx, env, http.MethodGet, fmt.Sprint("/admin/dead/", ids[0]), nil, nil, &answer, func(w io.Writer) error { return answer.print(w) })
}

// maxLine is the length of a line of an event that is shown, in characters.
const maxLine = 1000

func (l letter) print(w io.Writer) error {
	t := newTable(w)
	for _, row := range [][2]string{
		{"id", fmt.Sprint(l.ID)}, {"sink", l.Sink}, {"target", l.Target}, {"instance", l.Instance}, {"scope", l.Scope},
		{"event", l.EventName}, {"event id", l.EventID}, {"reason", l.Reason}, {"attempts", fmt.Sprint(l.Attempts)},
		{"first", clock(l.First)}, {"last", clock(l.Last)}, {"died", clock(l.Died)}, {"error", l.Error},
	} {
		t.row(row[0], row[1])
	}
	if err := t.flush(); err != nil {
		return err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, l.Event, "", "  "); err != nil {
		return fmt.Errorf("the event is not JSON: %w", err)
	}
	var out strings.Builder
	for line := range strings.Lines(pretty.String()) {
		out.WriteString(clean(strings.TrimSuffix(line, "\n"), maxLine) + "\n")
	}
	_, err := fmt.Fprintf(w, "\n%s", &out)
	return err
}

// A choice is which dead letters a command is about: ids, or a filter, or all of them.
type choice struct {
	ids      []int64
	all, yes bool
}

// chosenDead reads it. --yes says not to ask.
func chosenDead(q *question, args []string, what string) (c choice, err error) {
	q.takes(letterFlags...)
	q.BoolVar(&c.all, "all", false, "")
	q.BoolVar(&c.yes, "yes", false, "")
	if err := q.read(args); err != nil {
		return c, err
	}
	if c.ids, err = q.ids(); err != nil {
		return c, err
	}
	filtered := q.filtered()
	switch {
	case c.ids != nil && (filtered || c.all):
		return c, Usagef("give ids or a selection, not both")
	case c.ids == nil && !filtered && !c.all:
		return c, Usagef("say which dead letters to %s: ids, or --sink, --target, --instance, --event, --reason, --error; or give --all for all of them", what)
	}
	return c, nil
}

// filtered reports whether any flag selects dead letters.
func (q *question) filtered() bool {
	return slices.ContainsFunc(letterFlags, func(name string) bool { return *q.texts[name] != "" })
}

func purgeDead(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("dead purge", s)
	c, err := chosenDead(q, args, "remove")
	if err != nil {
		return err
	}
	n, what := len(c.ids), q.selection()
	if c.ids != nil {
		what = clean(strings.Trim(fmt.Sprint(c.ids), "[]"), 200)
	} else if !c.yes {
		if n, err = q.counted(ctx, "/admin/dead", "total"); err != nil {
			return err
		}
	}
	if err := q.sure(ctx, env, c.yes || n == 0, "Remove %s for good (%s)?", count(n, "dead letter", "dead letters"), what); err != nil {
		return err
	}
	for _, id := range c.ids {
		if err := q.purge(ctx, env, fmt.Sprint("/admin/dead/", id), nil, "dead letter", "dead letters"); err != nil {
			return fmt.Errorf("dead letter %d: %w", id, err)
		}
	}
	if c.ids != nil {
		return nil
	}
	query := q.parameters()
	if c.all {
		query.Set("all", "true")
	}
	return q.purge(ctx, env, "/admin/dead", query, "dead letter", "dead letters")
}
