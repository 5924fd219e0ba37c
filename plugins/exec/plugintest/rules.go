package plugintest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/evosink/evosink/plugins/exec/wire"
)

// A rule is something that every plugin must do.
type rule struct {
	rule, why string
	check     func(*talk) error // of a plugin that is ready
}

const plain = `{"text":"hello"}`

var rules = []rule{
	{
		"it starts and answers init with ready", "evosink ends a plugin that is not ready in time, and its lanes wait",
		func(*talk) error { return nil },
	},
	{
		"it answers each event once, with the event's id", "an event without an answer blocks its lane until the timeout and comes again; a second answer may be taken for another's",
		func(t *talk) error {
			for range 20 {
				n, err := t.event(plain)
				if err != nil {
					return err
				}
				if err := t.answered(n); err != nil {
					return err
				}
			}
			return t.pong() // and no second answer before it
		},
	},
	{
		"it answers as many events at once as it has asked for", "evosink sends max_in_flight events before it waits: a plugin that stops there stands still",
		func(t *talk) error {
			numbers, err := t.fill()
			if err != nil {
				return err
			}
			return t.answered(numbers...)
		},
	},
	{
		"it answers ping", "evosink ends a plugin that says nothing for as long as an event may take",
		func(t *talk) error { return errors.Join(t.pong(), t.pong()) },
	},
	{
		"it takes data of any shape and any text", "people write in all languages and producers send what they like: an event that ends the plugin holds up all others",
		func(t *talk) error {
			for _, data := range []string{
				`null`, `[]`, `"text"`, `-1.5e300`, `{}`, `{"a":{"b":[{"c":null}]}}`,
				`{"text":"olá 你好 🙂 \u0000\u001f \"quoted\" \\ back\nslash \u2028 \u2029"}`, `{"text":"\ud83d"}`, "{\n  \"text\": \"over lines\"\r\n}",
			} {
				n, err := t.event(data)
				if err != nil {
					return err
				}
				if err := t.answered(n); err != nil {
					return fmt.Errorf("data %s: %w", data, err)
				}
			}
			return nil
		},
	},
	{
		"it takes a large event", "media travel in events as base64: a reader with a small buffer cuts the line",
		func(t *talk) error {
			n, err := t.event(`{"base64":"` + strings.Repeat("QUJD", 1<<18) + `"}`)
			if err != nil {
				return err
			}
			return t.answered(n)
		},
	},
	{
		"it ignores keys that it does not know", "later versions of evosink say more",
		func(t *talk) error {
			t.last++
			line := strings.Replace(string(t.line(t.last, t.last, 1, plain)), `{"type":"event",`, `{"type":"event","from_the_future":{"a":[1]},`, 1)
			if err := t.send([]byte(line)); err != nil {
				return err
			}
			return t.answered(t.last)
		},
	},
	{
		"it survives lines of types that it does not know", "evosink answers a line that means nothing with one of type error, and later versions have more types",
		func(t *talk) error {
			for _, line := range []string{`{"type":"from-the-future","id":"x"}`, string(wire.Error("a test")[:len(wire.Error("a test"))-1])} {
				if err := t.send([]byte(line + "\n")); err != nil {
					return err
				}
			}
			return t.pong()
		},
	},
	{
		"it answers an event that comes again", "after a crash evosink sends again what was not answered, with the same key: the plugin may know it already",
		func(t *talk) error {
			t.last++
			first := t.last
			if err := t.send(t.line(first, first, 1, plain)); err != nil {
				return err
			}
			if err := t.answered(first); err != nil {
				return err
			}
			t.last++
			if err := t.send(t.line(t.last, first, 2, plain)); err != nil {
				return err
			}
			return t.answered(t.last)
		},
	},
	{
		"it ends what it does before it answers drain, and then ends by itself", "what is cut off comes again: every restart of evosink would deliver events twice",
		func(t *talk) error {
			numbers, err := t.fill()
			if err != nil {
				return err
			}
			if err := t.send(wire.Drain); err != nil {
				return err
			}
			if err := t.answered(numbers...); err != nil {
				return err
			}
			r, err := t.next()
			if err != nil {
				return fmt.Errorf("drain is not answered: %w", err)
			}
			if r.Type != wire.Drained {
				return errors.New("it says something else instead of drained")
			}
			if err := t.proc.In.Close(); err != nil {
				return err
			}
			return t.over()
		},
	},
	{
		"it ends when its standard input does", "where evosink cannot kill it any more, it would stay for ever",
		func(t *talk) error {
			if err := t.proc.In.Close(); err != nil {
				return err
			}
			return t.over()
		},
	},
}

// fill sends as many events as the plugin takes at once.
func (t *talk) fill() (numbers []uint64, err error) {
	for range t.ready.MaxInFlight {
		n, err := t.event(plain)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}
