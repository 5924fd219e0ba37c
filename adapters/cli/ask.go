package cli

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// ServerCommands returns the commands that talk to a running server, by its routes under /admin.
func ServerCommands(s Server) []Command {
	var all []Command
	for _, family := range [][]Command{queueCommands(s), deadCommands(s), {sinksCommand(s), eraseCommand(s)}} {
		all = append(all, family...)
	}
	return all
}

// everywhere is how the flags are written that all these commands have.
const everywhere = " [--json] [--url URL] [--key KEY] [--ca FILE]"

// A question is a command on its way to the server: its flags, and what they say.
type question struct {
	*flag.FlagSet
	server Server
	json   bool
	texts  map[string]*string // flags that go to the server as parameters of the same name
	words  []string           // what is no flag
}

func newQuestion(name string, s Server) *question {
	q := &question{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), server: s, texts: map[string]*string{}}
	q.StringVar(&q.server.URL, "url", s.URL, "")
	q.StringVar(&q.server.Key, "key", s.Key, "")
	q.StringVar(&q.server.CA, "ca", s.CA, "")
	q.BoolVar(&q.json, "json", false, "")
	return q
}

// takes declares flags that go to the server as they are.
func (q *question) takes(names ...string) *question {
	for _, name := range names {
		q.texts[name] = q.String(name, "", "")
	}
	return q
}

// read parses args. A flag with an empty value is refused: it is a shell's variable that is not set, and
// would select everything.
func (q *question) read(args []string) error {
	words, err := ParseFlags(q.FlagSet, args)
	if err != nil {
		return err
	}
	q.words = words
	configured := q.Lookup("url").DefValue
	q.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "url":
			q.server.URLFrom = Origin{Text: "--url"}
			if q.server.URL != configured {
				q.server.Certificate = "" // it is that of another server
			}
		case "key":
			q.server.KeyFrom = Origin{Text: "--key"}
		}
		if f.Value.String() == "" && err == nil {
			err = Usagef("--%s is empty", f.Name)
		}
	})
	return err
}

// parameters returns what the flags say, for a query.
func (q *question) parameters() url.Values {
	out := url.Values{}
	for name, value := range q.texts {
		if *value != "" {
			out.Set(name, *value)
		}
	}
	return out
}

// body returns the same for a body.
func (q *question) body() map[string]any {
	out := map[string]any{}
	for name, values := range q.parameters() {
		out[name] = values[0]
	}
	return out
}

// ids returns the words as ids of dead letters.
func (q *question) ids() ([]int64, error) {
	var out []int64
	for _, word := range q.words {
		id, err := strconv.ParseInt(word, 10, 64)
		if err != nil || id <= 0 {
			return nil, Usagef("%q is not the id of a dead letter; evosink dead list shows them", word)
		}
		out = append(out, id)
	}
	return out, nil
}

// sure asks whether a change is wanted, unless --yes was given. Anything but a yes is a no, also no answer at all.
func (q *question) sure(ctx context.Context, env *Env, yes bool, format string, args ...any) error {
	if yes {
		return nil
	}
	_, _ = fmt.Fprintf(env.Stderr, format+" [y/N] ", args...)
	answer := make(chan string, 1)
	go func() { // ends with the answer, or with the process
		var line strings.Builder
		for b := make([]byte, 1); env.Stdin != nil && line.Len() < 100; {
			if n, err := env.Stdin.Read(b); n == 0 && err != nil || n > 0 && b[0] == '\n' {
				break
			} else if n > 0 {
				line.WriteByte(b[0])
			}
		}
		answer <- strings.ToLower(strings.TrimSpace(line.String()))
	}()
	select {
	case said := <-answer:
		if said == "y" || said == "yes" {
			return nil
		}
	case <-ctx.Done():
	}
	return errors.New("nothing was changed: the answer was not yes (--yes answers the question)")
}

// counted returns how many there are of what a question selects: a field of the answer to a GET of path.
func (q *question) counted(ctx context.Context, path, field string) (int, error) {
	c, err := newClient(q.server)
	if err != nil {
		return 0, err
	}
	defer c.close()
	query := q.parameters()
	query.Set("limit", "1")
	query.Del("rate")
	raw, err := c.ask(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return 0, err
	}
	var answer map[string]json.RawMessage
	var n int
	if json.Unmarshal(raw, &answer) != nil || json.Unmarshal(answer[field], &n) != nil {
		return 0, c.stranger("its answer is not understood")
	}
	return n, nil
}

// selection tells what a question selects.
func (q *question) selection() string {
	var parts []string
	for _, name := range letterFlags {
		if value := q.texts[name]; value != nil && *value != "" {
			parts = append(parts, name+" "+clean(*value, maxCell))
		}
	}
	if parts == nil {
		return "all there are"
	}
	return strings.Join(parts, ", ")
}

// ask sends the question. With --json the answer is printed as it came, else into gets it and show prints it.
func (q *question) ask(ctx context.Context, env *Env, method, path string, query url.Values, body, into any, show func(io.Writer) error) error {
	c, err := newClient(q.server)
	if err != nil {
		return err
	}
	defer c.close()
	raw, err := c.ask(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	if q.json {
		_, err := fmt.Fprintf(env.Stdout, "%s\n", raw)
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return c.stranger("its answer is not understood: " + err.Error())
	}
	return show(env.Stdout)
}

// more tells how the next page is had, where it is no part of a table in a pipe.
func more(env *Env, next string) {
	if next != "" {
		_, _ = fmt.Fprintf(env.Stderr, "there are more: --after %s\n", clean(next, 1000)) // a hint
	}
}
