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
	got := fmt.Sprint(measure("sessions"), measure("sockets"), measure("joined_total"), measure("left_total"))
	if got != "2 3 3 0" || measure("sent_packets_total") < 3 || measure("received_packets_total") < 3 || measure("namespaces") < 2 {
		t.Errorf("sessions, sockets, joined, left: %s; %+v", got, h.hub.Stats().Sinks[0].Measures)
	}
	c.conn.Close()
	for deadline := time.Now().Add(20 * time.Second); measure("left_total") != 2 || measure("sockets") != 1 || measure("sessions") != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", h.hub.Stats().Sinks[0].Measures)
		}
	}
}
