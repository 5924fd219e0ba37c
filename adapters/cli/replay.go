package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
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

func replayDead(ctx context.Context, env *Env, s Server, args []string) error {
	q := newQuestion("dead replay", s)
	ids, all, err := chosenDead(q, args, "replay")
	if err != nil {
		return err
	}
	body := q.body()
	body["all"] = all
	if ids != nil {
		body = map[string]any{"ids": ids}
	}
	c, err := newClient(q.server)
	if err != nil {
		return err
	}
	defer c.close()
	answer, err := c.open(ctx, http.MethodPost, "/admin/dead/replay", nil, body)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Close() }() // it was read, or is of no use
	last, err := q.follow(env, answer)
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: %d of %s were replayed and stay so", last.Done, count(last.Total, "dead letter", "dead letters"))
	case last.Error != "":
		return fmt.Errorf("%d of %s were replayed: %s", last.Done, count(last.Total, "dead letter", "dead letters"), clean(last.Error, 1000))
	case !last.Finished:
		return errors.New("the answer broke off; what was replayed stays so, replay again for the rest")
	}
	return q.finished(env, last)
}

// progressPause is the time between two lines about progress.
const progressPause = time.Second

// follow reads lines until there are no more, and returns the last. With --json they are printed as they come, otherwise
// now and then a word about progress goes to where it is no part of the output.
func (q *question) follow(env *Env, answer io.Reader) (last progress, err error) {
	lines := bufio.NewScanner(answer)
	lines.Buffer(nil, 1<<20)
	var told time.Time
	for lines.Scan() {
		last = progress{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			return last, fmt.Errorf("the answer is not understood: %w", err)
		}
		if q.json {
			if _, err := fmt.Fprintf(env.Stdout, "%s\n", lines.Bytes()); err != nil {
				return last, err
			}
			continue
		}
		if !last.Finished && last.Error == "" && time.Since(told) >= progressPause {
			told = time.Now()
			_, _ = fmt.Fprintf(env.Stderr, "%d of %d\n", last.Done, last.Total) // nobody need see it
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
