package core

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/sink"
)

// A Command is what a client of a sink wants done, see [Hub.Handle].
type Command = sink.Command

// A CommandHandler does a command and returns the answer, which is encoded as JSON (nil: null), or an error; see
// [sink.CommandError]. Commands of one client come one after the other; those of several at once. ctx ends when the
// client leaves or the time is up.
type CommandHandler func(ctx context.Context, c Command) (any, error)

// commands implements [sink.Commander].
type commands struct {
	log zerolog.Logger

	mu sync.RWMutex
	// mu guards the field below.
	byName map[string]CommandHandler
}

func (c *commands) set(name string, f CommandHandler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byName == nil {
		c.byName = map[string]CommandHandler{}
	}
	if c.byName[name] = f; f == nil {
		delete(c.byName, name)
	}
}

func (c *commands) get(name string) CommandHandler {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.byName[name]
}

// Handles implements [sink.Commander].
func (c *commands) Handles() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.byName) > 0
}

// Do implements [sink.Commander].
func (c *commands) Do(ctx context.Context, cmd sink.Command) (answer json.RawMessage, err error) {
	log := c.log.With().Str("command", cmd.Name).Str("instance", cmd.Instance).Str("id", cmd.ID).Logger()
	f := c.get(cmd.Name)
	if f == nil {
		return nil, sink.CommandErrorf(sink.CodeUnknown, "there is no command %.128q", cmd.Name)
	}
	defer func() {
		if p := recover(); p != nil {
			log.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("the handler of a command panicked")
			err = sink.CommandErrorf(sink.CodeFailed, "the command failed")
		}
	}()
	v, err := f(ctx, cmd)
	if err != nil {
		log.Debug().Err(err).Msg("command not done")
		return nil, err
	}
	if answer, err = json.Marshal(v); err != nil {
		return nil, fmt.Errorf("encode the answer to command %s: %w", cmd.Name, err)
	}
	log.Debug().Msg("command done")
	return answer, nil
}
