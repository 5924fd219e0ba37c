package main

import (
	"net/http"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// echoMount is a bare Engine.IO server that sends every message back.
func echoMount(allowEIO3 bool) (mount, error) {
	c := engine(300*time.Millisecond, 200*time.Millisecond, 1_000_000)
	c.CORS = anyOrigin()
	c.AllowEIO3 = allowEIO3
	c.Accept = func(s *engineio.Session, _ *http.Request) engineio.Handler { return echo{s} }
	srv, err := engineio.New(c)
	if err != nil {
		return mount{}, err
	}
	return mount{handler: srv, sessions: srv.Sessions, close: srv.Close}, nil
}

type echo struct{ session *engineio.Session }

func (e echo) Message(m engineio.Message) { _ = e.session.Send(m) }

func (e echo) Closed(engineio.Reason, error) {}
