package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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
			Name: "dead replay", Summary: "Deliver dead letters again", Usage: "(ID... | " + letterSelection + " | --yes)" + everywhere,
			Run: func(ctx context.Context, env *Env, args []string) error { return replayDead(ctx, env, s, args) },
		},
		{
			Name: "dead purge", Summary: "Remove dead letters for good", Usage: "(ID... | " + letterSelection + " | --yes)" + everywhere,
			Run: func(ctx context.Context, env *Env, args []string) error { return purgeDead(ctx, env, s, args) },
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

// chosenDead reads which dead letters a command is about: ids, or a filter, or with --yes all of them.
func chosenDead(q *question, args []string, what string) (ids []int64, all bool, err error) {
	q.takes(letterFlags...).BoolVar(&all, "yes", false, "")
	if err := q.read(args); err != nil {
		return nil, false, err
	}
	if ids, err = q.ids(); err != nil {
		return nil, false, err
	}
	filtered := len(q.parameters()) > 0
	switch {
	case ids != nil && filtered:
		return nil, false, Usagef("give ids or a selection, not both")
	case ids == nil && !filtered && !all:
		return nil, false, Usagef("say which dead letters to %s: ids, or --sink, --target, --instance, --event, --reason, --error; or give --yes for all of them", what)
	}
	return ids, all && ids == nil, nil
}

func purgeDead(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("dead purge", s)
	ids, all, err := chosenDead(q, args, "remove")
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := q.purge(ctx, env, fmt.Sprint("/admin/dead/", id), nil, "dead letter", "dead letters"); err != nil {
			return fmt.Errorf("dead letter %d: %w", id, err)
		}
	}
	if ids != nil {
		return nil
	}
	query := q.parameters()
	if all {
		query.Set("all", "true")
	}
	return q.purge(ctx, env, "/admin/dead", query, "dead letter", "dead letters")
}
