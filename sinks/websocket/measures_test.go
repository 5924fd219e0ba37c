package websocket_test

import (
	"fmt"
	"testing"
	"time"
)

func TestMeasuresCountConnectionsAndSockets(t *testing.T) {
	h := build(t, global)
	h.create("sales", "token")
	h.set("sales", `{"enabled":true}`)
	measure := func(name string) (total float64) {
		for _, m := range h.hub.Stats().Sinks[0].Measures {
			if m.Name == name {
				total += m.Value
			}
		}
		return total
	}
	c := h.dial("&apikey=" + key)
	c.join("/", "")
	c.join("/sales", "")
	h.dial("&apikey="+key).join("/", "")
	until := func(what string, holds func() bool) {
		for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not %s: %+v", what, h.hub.Stats().Sinks[0].Measures)
			}
		}
	}
	until("two sessions, three sockets joined", func() bool { // a client has its answer a moment before it counts
		got := fmt.Sprint(measure("sessions"), measure("sockets"), measure("joined_total"), measure("left_total"))
		return got == "2 3 3 0" && measure("sent_packets_total") >= 3 && measure("received_packets_total") >= 3 && measure("namespaces") >= 2
	})
	c.conn.Close()
	until("one session, two sockets left", func() bool {
		return measure("left_total") == 2 && measure("sockets") == 1 && measure("sessions") == 1
	})
}
