package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
	"github.com/evosink/evosink/sinks/websocket/socketio"
	"github.com/evosink/evosink/sinks/websocket/socketio/parser"
)

// A fixture is the five servers, each on its mount.
type fixture struct {
	http.ServeMux
	mounts []mount
}

// A mount is one server.
type mount struct {
	path     string
	handler  http.Handler
	sessions func() int
	close    func(context.Context) error
}

func newFixture() (*fixture, error) {
	f := new(fixture)
	for path, open := range map[string]func() (mount, error){
		"/engine.io/": func() (mount, error) { return echoMount(false) },
		"/eio3/":      func() (mount, error) { return echoMount(true) },
		"/socket.io/": officialMount,
		"/ext/":       extMount,
		"/csr/":       csrMount,
	} {
		m, err := open()
		if err != nil {
			return nil, fmt.Errorf("mount %s: %w", path, err)
		}
		m.path = path
		f.mounts = append(f.mounts, m)
		f.Handle(path, m.handler)
		f.Handle(strings.TrimSuffix(path, "/"), http.NotFoundHandler()) // the slash is part of the path
	}
	f.HandleFunc("GET /fixture/stats", f.stats)
	return f, nil
}

// stats tells how many sessions each mount holds.
func (f *fixture) stats(w http.ResponseWriter, _ *http.Request) {
	sessions := make(map[string]int, len(f.mounts))
	for _, m := range f.mounts {
		sessions[m.path] = m.sessions()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"engine": sessions, "goroutines": runtime.NumGoroutine()})
}

func (f *fixture) close(ctx context.Context) error {
	var errs []error
	for _, m := range f.mounts {
		errs = append(errs, m.close(ctx))
	}
	return errors.Join(errs...)
}

// unbounded stands for bounds that the reference server does not have.
const unbounded = 256 << 20

// engine returns the configuration all mounts share.
func engine(interval, timeout time.Duration, maxPayload int) engineio.Config {
	c := engineio.DefaultConfig()
	c.PingInterval, c.PingTimeout, c.MaxPayload = interval, timeout, maxPayload
	c.MaxQueueBytes = unbounded
	return c
}

// anyOrigin is the CORS option of the mounts that answer every origin.
func anyOrigin() *engineio.CORS { return &engineio.CORS{Origins: []string{"*"}} }

// socketConfig returns the configuration of a Socket.IO mount.
func socketConfig(engine engineio.Config) socketio.Config {
	c := socketio.DefaultConfig()
	c.Engine = engine
	c.ConnectTimeout = time.Second
	c.MaxNamespaces = unbounded
	c.Limits = parser.Limits{Namespace: engine.MaxPayload}
	return c
}

// socketMount returns the mount of a Socket.IO server.
func socketMount(srv *socketio.Server) mount {
	return mount{handler: srv, sessions: func() int { return srv.Stats().Sessions }, close: srv.Close}
}
