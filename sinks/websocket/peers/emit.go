package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/evosink/evosink/sinks/websocket/peers/internal/control"
	"github.com/evosink/evosink/sinks/websocket/peers/internal/crowd"
)

// patience is how long events may not come, although more are due.
const patience = 5 * time.Second

// errStalled means that a server never finished emitting, and that nothing
// came any more: a client that does not read holds it up.
var errStalled = errors.New("the server stalls")

// emit has the server emit as o says, to as many clients per event as audience,
// and returns how many events have come to c when all have, or none has for a
// while. A server that is too slow for the rate gets the time it takes, within
// limits.
func (s *server) emit(ctx context.Context, c *crowd.Crowd, audience int, o control.Order) (got int, err error) {
	c.Reset()
	length := time.Duration((o.Events+o.Burst-1)/o.Burst) * o.Every
	ctx, cancel := context.WithTimeout(ctx, 3*length+patience)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		_, err := s.ask(ctx, http.MethodPost, "/emit?"+o.Query())
		answer <- err
	}()
	got = c.Await(o.Events*audience, patience)
	select {
	case err = <-answer:
	case <-time.After(patience):
		cancel()
		<-answer
		err = errStalled
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("the server is too slow: %d of %d events in %v", got, o.Events*audience, 3*length+patience)
	}
	return got, err
}
