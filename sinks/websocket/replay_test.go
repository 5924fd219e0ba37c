package websocket_test

import (
	"slices"
	"strings"
	"testing"
)

// pad is event data so large that a replay of many takes more than what the system buffers.
var pad = `"` + strings.Repeat("x", 64<<10) + `"`

func TestWhoIsCutOffDuringAReplayGetsTheRest(t *testing.T) {
	h := build(t, global)
	c := h.dial("&apikey=" + key)
	c.join("/", "")
	first := h.emit("sales", "call", `0`)
	c.await(1) // and its offset, which clients keep from one session to the next
	c.emit("41")
	var want []string
	for range 200 {
		want = append(want, h.emit("sales", "call", pad))
	}
	answer := c.join("/", `{"since":"`+first+`"}`)
	c.await(11)
	c.conn.Close()
	<-c.frames // closed
	got := c.ids()[1:]
	if len(got) == len(want) {
		t.Fatal("the replay was over before the connection")
	}
	again := h.dial("&apikey=" + key)
	again.join("/", c.ticket(answer, `"since":"`+got[len(got)-1]+`"`))
	again.await(len(want) - len(got))
	if got = append(got, again.ids()...); !slices.Equal(got, want) {
		t.Errorf("%d events arrived, %d were emitted, and they are not the same in the same order", len(got), len(want))
	}
}

func TestNamesThatSocketIOKeepsForItselfAreLeftOut(t *testing.T) {
	h := build(t, global)
	live := h.dial("&apikey=" + key)
	live.join("/", "")
	first := h.emit("sales", "call", `0`)
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		h.emit("sales", name, `1`)
	}
	last := h.emit("sales", "call", `2`)
	live.await(2)
	if ids := live.ids(); !slices.Equal(ids, []string{first, last}) {
		t.Errorf("live: got %v", ids)
	}
	if stats := h.hub.Stats().Sinks[0]; stats.Failed > 0 {
		t.Errorf("%d deliveries failed", stats.Failed)
	}
	later := h.dial("&apikey=" + key)
	later.join("/", `{"since":"`+first+`"}`)
	later.await(1)
	if ids := later.ids(); !slices.Equal(ids, []string{last}) {
		t.Errorf("replayed: got %v", ids)
	}
}
