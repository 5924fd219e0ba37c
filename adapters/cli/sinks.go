package cli

import (
	"context"
	"io"
	"net/http"
	"time"
)

// sinks is the answer of GET /admin/sinks.
type sinks struct {
	Sinks []struct {
		Name, Mode, LastError string
		Enabled, Healthy      bool
		ConnectedSince        time.Time
		Waiting               int
		Age                   float64
		Paused                bool
		Pauses                int
	}
}

func sinksCommand(s Server) Command {
	return Command{
		Name: "sinks", Summary: "List the sinks: whether they are enabled and healthy, and what waits for them", Usage: everywhere[1:],
		Run: func(ctx context.Context, env *Env, args []string) error {
			q := newQuestion("sinks", s)
			if err := q.read(args); err != nil {
				return err
			}
			if err := NoWords(q.words); err != nil {
				return err
			}
			var answer sinks
			return q.ask(ctx, env, http.MethodGet, "/admin/sinks", nil, nil, &answer, func(w io.Writer) error { return answer.print(w) })
		},
	}
}

func (s sinks) print(w io.Writer) error {
	t := newTable(w, "SINK", "MODE", "ENABLED", "HEALTHY", "CONNECTED SINCE", "WAITING", "OLDEST", "PAUSED", "LAST ERROR")
	for _, row := range s.Sinks {
		healthy, oldest, paused := yes(row.Healthy), "", "no"
		if !row.Enabled {
			healthy = ""
		}
		if row.Waiting > 0 {
			oldest = span(row.Age)
		}
		switch {
		case row.Paused:
			paused = "yes"
		case row.Pauses > 0:
			paused = "in part"
		}
		t.row(row.Name, row.Mode, yes(row.Enabled), healthy, clock(row.ConnectedSince), row.Waiting, oldest, paused, row.LastError)
	}
	return t.flush()
}
