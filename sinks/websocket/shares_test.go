package websocket_test

import (
	"strings"
	"testing"

	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/websocket"
)

// What one tenant may have of the server's sockets costs neither the others nor the operator anything.
func TestAnInstancesSocketsAreBoundedAndNobodyElses(t *testing.T) {
	h := build(t, func(c *websocket.Config) { c.SocketsEach = 3 })
	for _, name := range []string{"sales", "support"} {
		h.create(name, "token-of-"+name)
		h.set(name, `{"enabled":true,"events":[]}`)
	}
	var clients []*client
	for range 3 {
		c := h.dial("&apikey=token-of-sales")
		if answer := c.join("/sales", ""); !strings.HasPrefix(answer, "40/sales,") {
			t.Fatal(answer)
		}
		clients = append(clients, c)
	}
	// The hook that counts runs right behind the answer.
	sinktest.Eventually(t, "the fourth is told which limit it meets, and when to come again", func() bool {
		answer := h.dial("&apikey=token-of-sales").join("/sales", "")
		return strings.HasPrefix(answer, "44/sales,") && strings.Contains(answer, "websocket.sockets_each") &&
			strings.Contains(answer, `"status":429`) && strings.Contains(answer, `"retryAfter":5`)
	})
	if answer := h.dial("&apikey=token-of-sales").join("/", ""); !strings.HasPrefix(answer, "44") {
		t.Errorf("on the global namespace, where its token is silent: %s", answer)
	}
	if answer := h.dial("&apikey=token-of-support").join("/support", ""); !strings.HasPrefix(answer, "40") {
		t.Errorf("another instance: %s", answer)
	}
	if answer := h.dial("&apikey="+key).join("/sales", ""); !strings.HasPrefix(answer, "40") {
		t.Errorf("the operator: %s", answer)
	}
	clients[0].conn.Close()
	sinktest.Eventually(t, "a place is free when one has left", func() bool {
		return strings.HasPrefix(h.dial("&apikey=token-of-sales").join("/sales", ""), "40")
	})
}
