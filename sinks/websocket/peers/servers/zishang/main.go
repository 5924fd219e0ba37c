// The socket.io server of zishang520, with its defaults.
package main

import (
	"regexp"
	"sync/atomic"

	"github.com/evosink/evosink/sinks/websocket/peers/internal/control"
	"github.com/zishang520/socket.io/servers/socket/v3"
)

func main() {
	server := socket.NewServer(nil, nil)
	var clients atomic.Int64
	count := func(sockets ...any) {
		clients.Add(1)
		sockets[0].(*socket.Socket).On("disconnect", func(...any) { clients.Add(-1) })
	}
	server.Of("/", count)
	server.Of(regexp.MustCompile(`^/n\d{4}$`), count)
	control.Server{
		Handler: server.ServeHandler(nil),
		Clients: func() int { return int(clients.Load()) },
		Emit: func(space string, t *control.Template) {
			server.Of(space, nil).Emit(control.Name, t.JSON())
		},
	}.Run()
}
