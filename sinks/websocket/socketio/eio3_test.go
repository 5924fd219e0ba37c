package socketio_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

func TestClientsOfRevision3(t *testing.T) {
	srv, url := serve(t, func(c *socketio.Config) { c.Engine.AllowEIO3 = true })
	ids := make(chan string, 2)
	auths := make(chan string, 2)
	hooks := socketio.Hooks{
		Authorize: func(_ context.Context, r *socketio.ConnectRequest) error { auths <- string(r.Auth); return nil },
		Connect:   func(ctx context.Context, s *socketio.Socket) { ids <- s.ID(); s.Emit(ctx, "hello") },
		Event:     echo(nil),
	}
	srv.Handle("/", hooks)
	srv.Handle("/custom", hooks)
	srv.Handle("/data", socketio.Hooks{Authorize: func(context.Context, *socketio.ConnectRequest) error {
		return &socketio.ConnectError{Message: "m", Data: json.RawMessage(`{"code":1}`)}
	}})
	srv.Handle("/message", socketio.Hooks{Authorize: func(context.Context, *socketio.ConnectRequest) error {
		return &socketio.ConnectError{Message: "m"}
	}})
	p := dial3(t, url)
	p.expect(`0`, `2["hello"]`) // "/" is joined unasked
	root := within(t, ids)
	if auth := within(t, auths); auth != "" {
		t.Errorf("auth %s", auth)
	}
	p.send(`0/custom?token=abc&x=%3C1%3E&token=last`)
	p.expect(`0/custom,`, `2/custom,["hello"]`)
	if id := within(t, ids); id != "/custom#"+root {
		t.Errorf("ids %s and %s", root, id)
	}
	var auth map[string]string
	if err := json.Unmarshal([]byte(within(t, auths)), &auth); err != nil || auth["token"] != "last" || auth["x"] != "<1>" {
		t.Error(auth, err)
	}
	p.send(`2/custom,1["echo",1]`, `0/nowhere?x=1`, `0/data`, `0/message`)
	p.expect(`3/custom,1[1]`, `4/nowhere,{"message":"Invalid namespace"}`)
	got := []string{p.next(), p.next()}
	if strings.Join(sorted(got), " ") != `4/data,{"code":1} 4/message,"m"` {
		t.Errorf("refusals %q", got)
	}
	srv.Namespace("/").Sockets()[0].Disconnect()
	p.expect(`1`)
}

func TestRevision3IsOffByDefault(t *testing.T) {
	_, url := serve(t, nil)
	if !refused(t, url, "EIO=3") {
		t.Error("a client of revision 3 was let in")
	}
}
