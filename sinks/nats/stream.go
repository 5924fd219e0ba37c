package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// A keeper makes sure that the configured stream exists and takes what is published. Without configured subjects it adds those of each
// instance when its first event comes: a wildcard for all instances would take in the server's own subjects ($JS), which it refuses.
type keeper struct {
	js     jetstream.JetStream
	config *JetStream
	turn   chan struct{} // held by whoever asks the server

	mu sync.Mutex
	// mu guards the field below.
	covered map[string]bool // what the stream is known to take
}

// maxCovered bounds what is remembered, that of deleted instances included; all is asked for again then.
const maxCovered = 1 << 17

func newKeeper(js jetstream.JetStream, c *JetStream) *keeper {
	return &keeper{js: js, config: c, turn: make(chan struct{}, 1), covered: map[string]bool{}}
}

// ensure makes sure that the stream takes subjects that match pattern. It asks the server once in a session, and again after forget.
func (k *keeper) ensure(ctx context.Context, pattern string) error {
	if k.config.Stream == "" || k.has(pattern) {
		return nil
	}
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if k.has(pattern) {
		return nil
	}
	if err := k.extend(ctx, pattern); err != nil {
		return fmt.Errorf("stream %s: %w", k.config.Stream, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.covered) > maxCovered {
		clear(k.covered)
	}
	k.covered[pattern] = true
	return nil
}

func (k *keeper) has(pattern string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.covered[pattern]
}

// forget lets the next event ask again: the stream may have been deleted or changed.
func (k *keeper) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.covered)
}

// extend creates the stream, or adds pattern to its subjects unless those are configured.
func (k *keeper) extend(ctx context.Context, pattern string) error {
	stream, err := k.js.Stream(ctx, k.config.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return k.create(ctx, pattern)
	}
	if err != nil || len(k.config.Subjects) > 0 {
		return err
	}
	c := stream.CachedInfo().Config
	subjects := include(c.Subjects, pattern)
	if slices.Equal(subjects, c.Subjects) {
		return nil
	}
	c.Subjects = subjects
	_, err = k.js.UpdateStream(ctx, c)
	return err
}

func (k *keeper) create(ctx context.Context, pattern string) error {
	c := jetstream.StreamConfig{
		Name: k.config.Stream, Description: "events of instances, made by evosink", Subjects: k.config.Subjects,
		MaxAge: k.config.MaxAge, MaxBytes: k.config.MaxBytes, Replicas: k.config.Replicas,
	}
	if len(c.Subjects) == 0 {
		c.Subjects = []string{pattern}
	}
	_, err := k.js.CreateStream(ctx, c)
	return err
}

// include returns subjects that take pattern too. A stream's subjects must not overlap.
func include(subjects []string, pattern string) []string {
	if slices.ContainsFunc(subjects, func(s string) bool { return covers(s, pattern) }) {
		return subjects
	}
	rest := slices.DeleteFunc(slices.Clone(subjects), func(s string) bool { return covers(pattern, s) })
	return append(rest, pattern)
}

// covers reports whether every subject that matches b matches a.
func covers(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i, token := range as {
		switch {
		case i >= len(bs):
			return false
		case token == ">":
			return true
		case token != bs[i] && (token != "*" || bs[i] == ">"):
			return false
		}
	}
	return len(as) == len(bs)
}
