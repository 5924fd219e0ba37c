package socketio_test

import (
	"fmt"
	"testing"

	"github.com/evosink/evosink/sinks/websocket/socketio"
	"github.com/gorilla/websocket"
)

// upgrade moves a client from polling to websocket, as the reference client
// does: probe, let the pending poll be answered, go over. behind is sent in the
// same breath as the upgrade packet.
func upgrade(t testing.TB, url string, w *httpWire, took func(packets []string), behind ...string) *wsWire {
	t.Helper()
	ws := &wsWire{dialRaw(t, url, "EIO=4&sid="+w.sid)}
	polled := make(chan []string, 1)
	go func() {
		packets, _ := w.receive()
		polled <- packets
	}()
	ws.send("2probe")
	if pong, err := ws.receive(); err != nil || pong[0] != "3probe" {
		t.Fatal(pong, err)
	}
	took(within(t, polled))
	ws.send("5")
	for _, packet := range behind {
		ws.send(packet)
	}
	return ws
}

func dialRaw(t testing.TB, url, query string) *websocket.Conn {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial("ws"+url[len("http"):]+"?transport=websocket&"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return conn
}

func TestAnUpgradeLosesAndDoublesNothing(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Handle("/", socketio.Hooks{Event: echo(nil)})
	stop := stream(func(i int) { n.Emit(ctx, "n", num(i)) })
	var peers []*peer
	for range 50 {
		w := pollWire(t, url)
		w.send("40")
		var before []string
		ws := upgrade(t, url, w, func(packets []string) { before = packets }, `421["echo","behind"]`, `451-2["echo",{"_placeholder":true,"num":0}]`)
		ws.sendBinary([]byte("bin"))
		p := newPeer(t, ws)
		numbers := make(chan string, 1<<16)
		for _, packet := range before {
			if len(packet) > 3 && packet[:3] == `42[` {
				numbers <- packet[1:]
			}
		}
		for acks := 0; acks < 2; {
			switch packet := p.next(); packet {
			case `31["behind"]`:
				acks++
			case `61-2[{"_placeholder":true,"num":0}]`:
				p.expect(`<bin>`)
				acks++
			default:
				if packet[0] == '2' {
					numbers <- packet
				}
			}
		}
		close(numbers)
		consecutive(t, numbers)
		peers = append(peers, p)
	}
	last := stop()
	n.Emit(ctx, "n", num(last))
	for _, p := range peers {
		follow(p, last)
	}
}

// consecutive checks that no number is missing or doubled.
func consecutive(t *testing.T, events <-chan string) {
	t.Helper()
	next := -1
	for event := range events {
		var got int
		if _, err := fmt.Sscanf(event, `2["n",%d]`, &got); err != nil {
			t.Fatal(event)
		}
		if next >= 0 && got != next {
			t.Fatalf("got %d, want %d", got, next)
		}
		next = got + 1
	}
}
