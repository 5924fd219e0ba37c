// Package plugintest holds an executable in any language to the protocol evosink/1. Each rule says what goes wrong in production when it is
// broken. "evosink plugin test" prints them; a test calls [Run] itself. Every rule runs against a process of its own.
package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// A Subject is the plugin under test.
type Subject struct {
	Path     string          // of the executable, absolute
	Args     []string        // its arguments
	Env      []string        // names of variables that it needs
	Name     string          // what it is called in init; default "test"
	Config   map[string]any  // its configuration
	Settings json.RawMessage // an instance's settings; nil sends null
	Accept   bool            // events must be acknowledged: what the plugin delivers to is there
	Timeout  time.Duration   // of every wait; default 10 s
}

// A Result is the outcome of one rule.
type Result struct {
	Rule string // what a plugin must do
	Why  string // what goes wrong in production when it does not
	Note string // what was seen and is no violation
	Err  error  // the violation; nil if there is none
}

// ErrViolated is returned by [Run] when a rule is broken.
var ErrViolated = errors.New("the plugin breaks the protocol")

// Run goes through the rules and reports each when it is done. It returns nil when all of them hold. When the plugin does not even become ready, the
// rules behind that are left out.
func Run(ctx context.Context, s Subject, report func(Result)) error {
	if s.Timeout <= 0 {
		s.Timeout = 10 * time.Second
	}
	if s.Name == "" {
		s.Name = "test"
	}
	broken := 0
	for i, r := range rules {
		note, err := r.hold(ctx, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		report(Result{Rule: r.rule, Why: r.why, Note: note, Err: err})
		if err == nil {
			continue
		}
		if broken++; i == 0 {
			return fmt.Errorf("%w: it does not become ready, so the other %d rules were not tried", ErrViolated, len(rules)-1)
		}
	}
	if broken > 0 {
		return fmt.Errorf("%w: %d of %d rules", ErrViolated, broken, len(rules))
	}
	return nil
}

// hold checks one rule.
func (r rule) hold(ctx context.Context, s Subject) (note string, err error) {
	t, err := begin(ctx, s)
	if err != nil {
		return "", err
	}
	defer t.end()
	if err := r.check(t); err != nil {
		return "", t.explain(err)
	}
	return t.note(), nil
}
