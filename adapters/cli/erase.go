package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// eraseCommand is "instance erase".
func eraseCommand(s Server) Command {
	return Command{
		Name: "instance erase", Summary: "Delete an instance and all that is stored of it, for good",
		Usage: "NAME [--id INSTANCE-ID] [--yes]" + everywhere,
		Run:   func(ctx context.Context, env *Env, args []string) error { return eraseInstance(ctx, env, s, args) },
	}
}

// erased is the answer of DELETE /instance/delete/{instance}?erase=true.
type erased struct {
	Erased struct {
		Events, Deliveries, DeadLetters, Attempts, Pauses int
		Left                                              bool
	}
}

func eraseInstance(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("instance erase", s).takes("id")
	var yes bool
	q.BoolVar(&yes, "yes", false, "")
	if err := q.read(args); err != nil {
		return err
	}
	if len(q.words) != 1 || q.words[0] == "" {
		return Usagef("give the name of one instance")
	}
	name := q.words[0]
	err := q.sure(ctx, env, yes, "Delete instance %s if there is one, and remove all that is stored of it for good?", clean(name, maxCell))
	if err != nil {
		return err
	}
	query := q.parameters()
	query.Set("erase", "true")
	var answer erased
	return q.ask(ctx, env, http.MethodDelete, "/instance/delete/"+url.PathEscape(name), query, nil, &answer, func(w io.Writer) error {
		n := answer.Erased
		_, err := fmt.Fprintf(w, "removed %s, %s, %s, %s, %s\n", count(n.Events, "event", "events"),
			count(n.Deliveries, "delivery", "deliveries"), count(n.DeadLetters, "dead letter", "dead letters"),
			count(n.Attempts, "attempt", "attempts"), count(n.Pauses, "pause", "pauses"))
		if n.Left {
			err = errors.Join(err, errors.New("something is left, which is being delivered; give the command again for the rest"))
		}
		return err
	})
}
