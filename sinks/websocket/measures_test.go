package websocket_test

import (
	"fmt"
	"testing"
	"time"
)

// measure returns one of the sink's figures, of all labels.
func (h *house) measure(name string) (total float64) {
	for _, m := range h.hub.Stats().Sinks[0].Measures {
		if m.Name == name {
			total += m.Value
		}
	}
	return total
}

// until waits for what the sink's figures are to show.
func (h *house) until(what string, holds func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("not %s: %+v", what, h.hub.Stats().Sinks[0].Measures)
		}
	}
}

func TestMeasuresCountConnectionsAndSockets(t *testing.T) {
	h := build(t, global)
	h.create("sales", "token")
	h.set("sales", `{"enabled":true}`)
	c := h.dial("&apikey=" + key)
	c.join("/", "")
	c.join("/sales", "")
	h.dial("&apikey="+key).join("/", "")
	h.until("two sessions, three sockets joined", func() bool { // a client has its answer a moment before it counts
		got := fmt.Sprint(h.measure("sessions"), h.measure("sockets"), h.measure("joined_total"), h.measure("left_total"))
		return got == "2 3 3 0" && h.measure("sent_packets_total") >= 3 && h.measure("received_packets_total") >= 3 && h.measure("namespaces") >= 2
	})
	c.conn.Close()
	h.until("one session, two sockets left", func() bool {
		return h.measure("left_total") == 2 && h.measure("sockets") == 1 && h.measure("sessions") == 1
	})
}
