package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core"
)

// A Process is what runs together as one: the hub, the API in front of it and the engine behind it.
type Process struct {
	Hub         *core.Hub // made with the DrainTimeout of Server
	API         *API
	Server      Server
	Certificate *Certificate                // of https, loaded; nil reads it from the files of Server, once
	Engine      func(context.Context) error // closes the engine, which is the last to go
	Logger      zerolog.Logger

	// Reload is called for each signal of Hangup, one at a time. Both may be nil.
	Hangup <-chan os.Signal
	Reload func()
}

// Run serves HTTP while the hub runs, until ctx ends or one of the two ends by itself. Then everything ends within
// Server.ShutdownTimeout:
//
//	at once          the listener closes, nothing is read from the engine, no delivery begins, socket.io clients are told
//	until 1/2 of it  requests and deliveries under way may end, all beside each other
//	until 4/5        what has not ended is cut off: connections are closed, attempts cancelled, plugins killed
//	the rest         is the engine's; it begins as soon as everything else has ended
//
// An event that was accepted is never lost by that: it is in the engine, and what was cut off is delivered again after
// the next start. So Run returns nil, and one line of the log tells what has not ended in time. It returns an error
// when it could not listen, when hub or listener ended by themselves, or when the engine did not close properly. A
// Process runs once.
func (p Process) Run(ctx context.Context) error {
	listener, err := net.Listen("tcp", p.Server.Address())
	if err != nil {
		err = fmt.Errorf("server.port: %w; is evosink running already? SERVER_PORT chooses another port", err)
		return errors.Join(err, p.Hub.Close(ctx), p.Engine(ctx))
	}
	server := NewServer(p.Server, p.API, p.Logger)
	if p.Certificate != nil {
		server.TLSConfig = p.Certificate.config()
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	hub, served := make(chan error, 1), make(chan error, 1)
	go func() { hub <- p.Hub.Run(context.WithoutCancel(ctx)) }()
	go func() { served <- p.serve(running, server, listener) }()
	for {
		var failed error
		select {
		case <-p.Hangup:
			p.Reload()
			continue
		case <-ctx.Done():
		case failed = <-hub:
			hub <- nil
		case failed = <-served:
			served <- nil
		}
		stop()
		return errors.Join(failed, p.end(context.WithoutCancel(ctx), server, hub), <-served)
	}
}

// serve answers requests from the moment that the hub delivers.
func (p Process) serve(running context.Context, server *http.Server, l net.Listener) error {
	select {
	case <-p.Hub.Started():
	case <-running.Done():
		return l.Close()
	}
	p.Logger.Info().Stringer("address", l.Addr()).Msg("evosink is ready")
	return Serve(server, l, p.Server)
}

// end ends everything, see [Process.Run]. hub is the end of the hub's Run.
func (p Process) end(ctx context.Context, server *http.Server, hub <-chan error) error {
	p.Logger.Info().Stringer("timeout", p.Server.ShutdownTimeout).Msg("shutting down")
	begun := time.Now()
	until := func(share float64) (context.Context, context.CancelFunc) {
		return context.WithDeadline(ctx, begun.Add(time.Duration(share*float64(p.Server.ShutdownTimeout))))
	}
	drain, cancel := until(0.5)
	defer cancel()
	cut, cancel := until(0.8)
	defer cancel()
	last, cancel := until(1)
	defer cancel()

	p.Hub.Stop()
	requests := make(chan error, 1)
	go func() { requests <- p.drainRequests(drain, cut, server) }()
	var failed error
	var unfinished []error
	select {
	case err := <-hub:
		var u *core.Unfinished
		if errors.As(err, &u) {
			unfinished = u.What
		} else {
			failed = err
		}
	case <-cut.Done():
		unfinished = append(unfinished, errors.New("the hub does not return"))
	}
	if err := <-requests; err != nil {
		unfinished = append(unfinished, err)
	}
	_ = p.Hub.Close(cut) // it has ended, or will not; no event is taken any more
	engine := make(chan error, 1)
	go func() { engine <- p.Engine(last) }()
	select {
	case err := <-engine:
		failed = errors.Join(failed, err)
	case <-last.Done():
		unfinished = append(unfinished, errors.New("the engine does not close"))
	}
	if unfinished == nil {
		p.Logger.Info().Stringer("took", time.Since(begun).Round(time.Millisecond)).Msg("evosink has ended")
		return failed
	}
	p.Logger.Warn().Stringer("took", time.Since(begun).Round(time.Millisecond)).Errs("cut_off", unfinished).
		Msg("evosink has ended, and this did not end in time. Nothing that was accepted is lost: it is delivered after the next start")
	return failed
}

// drainRequests lets requests end until drain does, then closes their connections, and waits for their handlers until
// cut ends. It returns an error that says how many were cut off.
func (p Process) drainRequests(drain, cut context.Context, server *http.Server) error {
	drained := make(chan error, 1)
	go func() { drained <- p.API.Drain(drain) }()
	connections := server.Shutdown(drain) // those of mounted handlers too, a long poll of socket.io for example
	if err := errors.Join(<-drained, connections); err == nil {
		return nil
	}
	n := p.API.inflight.Len()
	_ = server.Close() // of connections that are to be cut
	_ = p.API.Drain(cut)
	if n == 0 {
		return errors.New("connections that were not idle")
	}
	return fmt.Errorf("requests under way: %d", n)
}
