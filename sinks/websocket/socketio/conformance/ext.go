package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"time"

	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/sinks/websocket/engineio"
	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// extMount has most of what the independent suite asks for.
func extMount() (mount, error) {
	c := engine(2*time.Second, 2*time.Second, 100_000)
	c.UpgradeTimeout = time.Second
	c.AllowEIO3 = true
	c.CORS = &engineio.CORS{Origins: []string{"http://allowed.example", "http://other.example"}, Credentials: true}
	c.Cookie = &http.Cookie{Name: "ext-sid", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	c.PerMessageDeflate = 1024
	c.AllowRequest = func(r *http.Request) error {
		if r.URL.Query().Get("reject") == "1" {
			return errors.New("denied by fixture")
		}
		return nil
	}
	srv, err := socketio.New(socketConfig(c))
	if err != nil {
		return mount{}, err
	}
	x := &ext{server: srv, reasons: newReasons()}
	srv.Handle("/", socketio.Hooks{
		Authorize:     authorizeRoot,
		Event:         x.middleware(x.events().Serve),
		Error:         useError,
		Disconnecting: x.reasons.disconnecting,
		Disconnect:    x.reasons.disconnect,
	})
	srv.Handle("/custom", socketio.Hooks{Authorize: authData, Connect: showAuth, Event: messages().Serve})
	srv.Handle("/closed", socketio.Hooks{Authorize: func(context.Context, *socketio.ConnectRequest) error {
		return &socketio.ConnectError{Message: "closed"}
	}})
	srv.HandleFunc(regexp.MustCompile(`^/dynamic-[0-9]+$`).MatchString, socketio.Hooks{
		Connect: func(ctx context.Context, s *socketio.Socket) {
			_ = s.Emit(ctx, "dynamic", socketio.String(s.Namespace().Name()))
		},
		Event: socketio.Mux{"all": relay(0, everybody)}.Serve,
	})
	m := socketMount(srv)
	m.close = x.close
	return m, nil
}

// rootAuth is what the auth object of "/" may hold.
type rootAuth struct {
	Tag    string  `json:"tag"`
	Reject bool    `json:"reject"`
	Delay  float64 `json:"delay"`
}

// maxDelay bounds what a client may make Authorize wait.
const maxDelay = 500

func authorizeRoot(ctx context.Context, r *socketio.ConnectRequest) error {
	var auth rootAuth
	if r.Auth != nil {
		_ = json.Unmarshal(r.Auth, &auth) // of another shape: as if it held nothing
	}
	r.Data = auth.Tag
	if auth.Reject {
		return &socketio.ConnectError{Message: "not authorized", Data: json.RawMessage(`{"code":"E401","retry":false}`)}
	}
	if auth.Delay <= 0 {
		return nil
	}
	retry.Sleep(ctx.Done(), time.Duration(min(auth.Delay, maxDelay))*time.Millisecond)
	return ctx.Err()
}

var errForbidden = errors.New("forbidden event")

// useError tells the client what the middleware said.
func useError(s *socketio.Socket, err error) {
	if errors.Is(err, errForbidden) {
		_ = s.Emit(context.Background(), "use-error", socketio.String(err.Error()))
	}
}
