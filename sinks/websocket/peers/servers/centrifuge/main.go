// Centrifuge, with its own protocol in JSON and its defaults. A client asks for
// a channel when it connects; the server subscribes it.
package main

import (
	"context"
	"log"
	"net/http"

	"github.com/centrifugal/centrifuge"
	"github.com/evosink/evosink/sinks/websocket/peers/internal/control"
)

func main() {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(_ context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		subscriptions := make(map[string]centrifuge.SubscribeOptions, len(e.Channels))
		for _, channel := range e.Channels {
			subscriptions[channel] = centrifuge.SubscribeOptions{}
		}
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}, Subscriptions: subscriptions}, nil
	})
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	control.Server{
		Handler: http.Handler(centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{})),
		Clients: node.Hub().NumClients,
		Emit: func(space string, t *control.Template) {
			if _, err := node.Publish(space, t.JSON()); err != nil {
				log.Fatal(err)
			}
		},
	}.Run()
}
