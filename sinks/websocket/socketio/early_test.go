package socketio_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/socketio"
)

// refusing lets no client in.
func refusing(srv *socketio.Server) {
	srv.Handle("/", socketio.Hooks{Authorize: func(context.Context, *socketio.ConnectRequest) error {
		return &socketio.ConnectError{Message: "no"}
	}})
}

func TestAClientThatHasJoinedNothingMaySendLittle(t *testing.T) {
	srv, url := serve(t, nil)
	refusing(srv)
	large := strings.Repeat("x", 100_000)
	for name, send := range map[string]func(*peer){
		"attachments": func(p *peer) {
			p.wire.send(`4510-["x"]`)
			for range 10 {
				p.wire.sendBinary([]byte(large[:9_000]))
			}
		},
		"an attachment": func(p *peer) { p.wire.send(`451-["x"]`); p.wire.sendBinary([]byte(large)) },
		"a large auth":  func(p *peer) { p.wire.send(`40{"token":"` + large + `"}`) },
		"many CONNECTs": func(p *peer) {
			for range 100 {
				p.wire.send(`40{"token":"` + large[:1000] + `"}`)
			}
		},
	} {
		for transport, connect := range map[string]func(testing.TB, string) *peer{"websocket": dial, "polling": poll} {
			if transport == "polling" && name != "many CONNECTs" {
				continue // its wire sends no binary, and a body that is too large is answered 413
			}
			t.Run(name+" over "+transport, func(t *testing.T) {
				p := connect(t, url)
				go send(p)
				for {
					select {
					case packet, more := <-p.in:
						if !more {
							return
						}
						if packet != `4{"message":"no"}` {
							t.Fatalf("got %s", packet)
						}
					case <-time.After(patience):
						t.Fatal("the connection goes on")
					}
				}
			})
		}
	}
}

func TestAClientThatHasJoinedMaySendMuch(t *testing.T) {
	srv, url := serve(t, nil)
	got := make(chan int, 1)
	srv.Handle("/", socketio.Hooks{
		Authorize: func(context.Context, *socketio.ConnectRequest) error { return nil },
		Event: func(_ context.Context, _ *socketio.Socket, e *socketio.Event) error {
			got <- len(e.Args[0].JSON)
			return nil
		},
	})
	for _, connect := range []func(testing.TB, string) *peer{dial, poll} {
		p := connect(t, url)
		p.wire.send("40")
		if packet := <-p.in; !strings.HasPrefix(packet, "0{") {
			t.Fatalf("got %s", packet)
		}
		p.wire.send(`42["x","` + strings.Repeat("x", 900_000) + `"]`)
		select {
		case n := <-got:
			if n != 900_002 {
				t.Errorf("an event of %d bytes came", n)
			}
		case <-time.After(patience):
			t.Error("a large event of a client that has joined does not come")
		}
		p.wire.send(`40/other,{"token":"` + strings.Repeat("x", 100_000) + `"}`)
		if packet := <-p.in; packet != `4/other,{"message":"auth has 100012 bytes, at most 65536 are allowed"}` {
			t.Errorf("a large auth is answered %.200s", packet)
		}
	}
}

// Clients that join nothing and stop in the middle of a large message hold little together, and shut out no client that
// behaves.
func TestManyClientsThatHaveJoinedNothingHoldLittleTogether(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Handle("/", socketio.Hooks{})
	const clients, most = 600, 256
	address := strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/socket.io/")
	var ended atomic.Int64
	var wg sync.WaitGroup
	defer wg.Wait()
	for range clients {
		conn, in := handshake(t, address)
		defer conn.Close()
		frame := binary.BigEndian.AppendUint16([]byte{0x81, 0x80 | 126}, 60_000)
		conn.Write(append(append(frame, 0, 0, 0, 0), make([]byte, 50_000)...))
		wg.Go(func() {
			for {
				first, err := in.ReadByte()
				if err != nil {
					return // by the test's end
				}
				if first == 0x88 {
					ended.Add(1)
					return
				}
			}
		})
	}
	for end := time.Now().Add(patience); ended.Load() < clients-most; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d clients were disconnected, want %d", ended.Load(), clients, clients-most)
		}
	}
	p := dial(t, url)
	p.wire.send("40")
	if packet := <-p.in; !strings.HasPrefix(packet, "0{") {
		t.Errorf("a client that behaves is answered %s", packet)
	}
	if n := ended.Load(); n > clients-most {
		t.Errorf("%d clients were disconnected, want %d", n, clients-most)
	}
}

// handshake makes a websocket by hand. What the server sends next is its open packet.
func handshake(t *testing.T, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(answer, err)
	}
	return conn, in
}
