package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// attempts is the answer of GET /admin/queue/attempts/{event}.
type attempts struct {
	Attempts []struct {
		place
		Number              int
		At                  time.Time
		Took                float64
		Status, Error, Head string
	}
	Next string
}

func listAttempts(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("attempts", s).takes("limit", "after")
	if err := q.read(args); err != nil {
		return err
	}
	if len(q.words) != 1 {
		return Usagef("give the id of one event")
	}
	var answer attempts
	path := "/admin/queue/attempts/" + url.PathEscape(q.words[0])
	err := q.ask(ctx, env, http.MethodGet, path, q.parameters(), nil, &answer, func(w io.Writer) error { return answer.print(w) })
	more(env, answer.Next)
	return err
}

func (a attempts) print(w io.Writer) error {
	if len(a.Attempts) == 0 {
		_, err := fmt.Fprintln(w, "no attempt is known: none was made yet, or it was long ago, or went well at once some time ago, or there is no such event")
		return err
	}
	t := newTable(w, "AT", "SINK", "TARGET", "INSTANCE", "NUMBER", "TOOK", "STATUS", "ERROR", "ANSWER")
	for _, row := range a.Attempts {
		took := time.Duration(row.Took * float64(time.Second)).Round(time.Millisecond)
		t.row(clock(row.At), row.Sink, row.Target, row.Instance, row.Number, took, row.Status, row.Error, row.Head)
	}
	return t.flush()
}
