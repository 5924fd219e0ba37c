package websocket_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
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

func TestMeasuresCountWhoIsRefusedRecoveredAndGivenAReplay(t *testing.T) {
	h := build(t, global)
	h.dial("").join("/", "")
	c := h.dial("&apikey=" + key)
	answer := c.join("/", "")
	first := h.emit("sales", "call", `1`)
	c.await(1)
	h.emit("sales", "call", `2`)
	h.emit("sales", "call", `3`)
	h.dial("&apikey="+key).join("/", c.ticket(answer, ""))
	h.dial("&apikey="+key).join("/", `{"since":"`+first+`","events":["call"]}`) // application.startup comes at some time
	h.until("one refused, one recovered, two events replayed", func() bool {
		return fmt.Sprint(h.measure("refused_total"), h.measure("recovered_total"), h.measure("replayed_total")) == "1 1 2"
	})
}

func TestTheLogTellsWhoJoinsWhoIsRefusedAndWhoLeavesButNoKeys(t *testing.T) {
	var out bytes.Buffer // written to until the house is closed
	t.Run("", func(t *testing.T) {
		h := buildLogging(t, noHosts, zerolog.New(zerolog.SyncWriter(&out)).Level(zerolog.DebugLevel))
		h.create("sales", "the-token")
		h.set("sales", `{"enabled":true}`)
		c := h.dial("")
		c.join("/sales", `{"apikey":"a-wrong-key"}`)
		c.join("/sales", `{"apikey":"the-token","since":"an-id"}`)
		c.emit("41/sales,")
		h.until("left", func() bool { return h.measure("left_total") == 1 })
	})
	var told []string
	for line := range strings.Lines(out.String()) {
		var l struct{ Message, Remote, Namespace, Error, Since, Reason, Recovered any }
		if json.Unmarshal([]byte(line), &l); l.Remote != nil && l.Namespace != nil {
			told = append(told, fmt.Sprint(l.Message, l.Namespace, l.Error, l.Since, l.Reason, l.Recovered))
		}
	}
	want := []string{
		fmt.Sprint("client refused", "/sales", "Invalid global token", nil, nil, nil),
		fmt.Sprint("client joined", "/sales", nil, "an-id", nil, false),
		fmt.Sprint("client left", "/sales", nil, nil, "client namespace disconnect", nil),
	}
	if fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", told, want)
	}
	for _, secret := range []string{"the-token", "a-wrong-key", key} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
}
