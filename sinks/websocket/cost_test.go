package websocket_test

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// heap returns how many bytes are in use, after everything that can be freed has been.
func heap() uint64 {
	for range 3 { // cleanups run behind a collection and free more
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// wants returns an auth object that asks for n events of a client's own; kind makes them others.
func wants(n, kind int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("my.event.number-%d.of-%d", i, kind)
	}
	list, _ := json.Marshal(names)
	return `{"apikey":"sales-token","events":` + string(list) + `}`
}

func TestWhatAClientAsksForIsBoundedAndKeptOnce(t *testing.T) {
	const clients = 40
	huge := wants(34_000, 0)
	var bare int // what one costs that sends along nothing but its key, most of it the test's own client
	for _, c := range []struct {
		why    string
		auth   func(i int) string
		joins  bool
		perOne int // further bytes that may stay of each client once it has left and may come back
	}{
		{"nothing", func(int) string { return `{"apikey":"sales-token"}` }, true, 0},
		{"990 KB", func(int) string { return huge }, false, 2 << 10},
		{"more names than there are events", func(int) string { return `{"events":[` + strings.Repeat(`"call",`, 300) + `"call"]}` }, false, 2 << 10},
		{"as much as may be, all the same", func(int) string { return wants(256, 0) }, true, 2 << 10},
		{"as much as may be, each another", func(i int) string { return wants(256, i) }, true, 48 << 10},
	} {
		h := build(t, noHosts)
		h.create("sales", "sales-token")
		h.set("sales", `{"enabled":true}`)
		before := heap()
		for i := range clients {
			k := h.dial("&apikey=sales-token")
			answer := k.join("/sales", c.auth(i))
			if joined := strings.HasPrefix(answer, "40"); joined != c.joins {
				t.Fatalf("%s: %.200s", c.why, answer)
			}
			// What is too large for a client that has joined nothing ends its connection and has no answer.
			if !c.joins && answer != "" && !strings.Contains(answer, "at most") {
				t.Errorf("%s: the refusal does not say what is allowed: %.200s", c.why, answer)
			}
			if c.why != "990 KB" && answer == "" {
				t.Errorf("%s: there was no answer", c.why)
			}
			k.conn.Close()
		}
		h.until("left", func() bool { return h.measure("sessions") == 0 && (!c.joins || h.measure("left_total") == clients) })
		kept := (int(heap()) - int(before)) / clients
		t.Logf("%s: %d bytes per client", c.why, kept)
		if c.why == "nothing" {
			bare = kept
		}
		if kept-bare > c.perOne {
			t.Errorf("%s: %d bytes are kept of each client that has left, at most %d are allowed", c.why, kept-bare, c.perOne)
		}
	}
}

func TestAnIdThatIsNoneIsRefused(t *testing.T) {
	h := build(t, global)
	answer := h.dial("&apikey="+key).join("/", `{"since":"`+strings.Repeat("x", 129)+`"}`)
	if !strings.Contains(answer, "auth.since has 129 bytes") {
		t.Error(answer)
	}
}
