package engineio_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// readers runs a test with parked connections and with a reader each.
func readers(t *testing.T, test func(t *testing.T, change func(*engineio.Config))) {
	t.Run("parked", func(t *testing.T) { test(t, func(*engineio.Config) {}) })
	t.Run("goroutines", func(t *testing.T) {
		test(t, func(c *engineio.Config) { c.GoroutineReaders = true })
	})
}

// join applies changes in turn.
func join(changes ...func(*engineio.Config)) func(*engineio.Config) {
	return func(c *engineio.Config) {
		for _, change := range changes {
			change(c)
		}
	}
}

func TestMessagesGoBothWaysOverWebSocket(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, change)
		p, app := s.connect(t)
		p.text(t, "4hello", "4", "bAQIDBA==", "4\u2028\x00😀")
		p.send(t, frame{opcode: opBinary, data: "\x01\x02"}, frame{opcode: opBinary})
		app.wantText(t, "hello")
		app.wantText(t, "")
		app.wantBinary(t, "\x01\x02\x03\x04")
		app.wantText(t, "\u2028\x00😀")
		app.wantBinary(t, "\x01\x02")
		app.wantBinary(t, "")
		app.Send(text("one"), blob("\x01\x02"))
		app.SendBatch(engineio.NewBatch(text("two"), blob("")))
		for _, want := range []frame{{opcode: opText, data: "4one"}, {opcode: opBinary, data: "\x01\x02"}, {opcode: opText, data: "4two"}, {opcode: opBinary}} {
			if f := p.read(t); f != want {
				t.Errorf("frame is %+v, want %+v", f, want)
			}
		}
	})
}

func TestMessagesOfEverySizeAreFramedRight(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, join(echoing, change))
		p, _ := s.connect(t)
		for _, size := range []int{1, 124, 125, 126, 65534, 65535, 65536, 999_999} {
			want := "4" + strings.Repeat("x", size)
			p.text(t, want)
			p.wantText(t, want)
		}
	})
}

func TestManyMessagesInOneReadAreAllSeenAndInOrder(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, join(echoing, change))
		p, _ := s.connect(t)
		var frames []frame
		for i := range 3000 {
			frames = append(frames, frame{opcode: opText, data: fmt.Sprint("4", i)})
		}
		p.send(t, frames...)
		for i := range 3000 {
			p.wantText(t, fmt.Sprint("4", i))
		}
	})
}

func TestBinaryIsBase64TextForThoseWhoAsk(t *testing.T) {
	s := open(t, nil)
	p, app := s.connectAs(t, "EIO=4&transport=websocket&b64=1")
	app.Send(blob("\x01\x02\x03\x04"))
	p.wantText(t, "bAQIDBA==")
	app.SendBatch(engineio.NewBatch(blob("\x01\x02\x03\x04")))
	p.wantText(t, "bAQIDBA==")
}

func TestWhatIsNoPacketEndsTheSessionWithParseError(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		for _, data := range []string{"", "abc", "7"} {
			s := open(t, change)
			p, app := s.connect(t)
			p.text(t, data)
			app.wantClosed(t, engineio.ReasonParseError)
			p.wantClosed(t)
		}
	})
}

// CVE-2020-27813 (lengths near 2^63), CVE-2016-10518 (long pings).
func TestABrokenFrameEndsItsOwnSessionOnly(t *testing.T) {
	tests := []struct {
		name  string
		bytes [][]byte
	}{
		{"unmasked", [][]byte{frame{opcode: opText, data: "4x", unmasked: true}.bytes()}},
		{"RSV1 without an extension", [][]byte{frame{opcode: opText, data: "4x", rsv: 4}.bytes()}},
		{"RSV2", [][]byte{frame{opcode: opText, data: "4x", rsv: 2}.bytes()}},
		{"RSV3", [][]byte{frame{opcode: opText, data: "4x", rsv: 1}.bytes()}},
		{"opcode 3", [][]byte{frame{opcode: 3, data: "4x"}.bytes()}},
		{"opcode 11", [][]byte{frame{opcode: 11}.bytes()}},
		{"a ping of 126 bytes", [][]byte{frame{opcode: opPing, data: strings.Repeat("x", 126)}.bytes()}},
		{"a fragmented ping", [][]byte{frame{opcode: opPing, more: true}.bytes()}},
		{"a continuation of nothing", [][]byte{frame{opcode: opContinue, data: "4x"}.bytes()}},
		{"text within a fragmented message", [][]byte{frame{opcode: opText, data: "4x", more: true}.bytes(), frame{opcode: opText, data: "4y"}.bytes()}},
		{"a length of 2^63", [][]byte{frame{opcode: opText, length: 1 << 63}.bytes()}},
		{"a length of 2^62", [][]byte{frame{opcode: opText, length: 1 << 62}.bytes()}},
		{"a length of all ones", [][]byte{frame{opcode: opBinary, length: 1<<64 - 1}.bytes()}},
		{"close code 1005", [][]byte{frame{opcode: opClose, data: "\x03\xed"}.bytes()}},
		{"a close reason not UTF-8", [][]byte{frame{opcode: opClose, data: "\x03\xe8\xff"}.bytes()}},
		{"no frame at all", [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n")}},
		{"text not UTF-8", [][]byte{frame{opcode: opText, data: "4\xff"}.bytes()}},
		{"text cut in a character", [][]byte{frame{opcode: opText, data: "4\xe2\x82"}.bytes()}},
		{"a ping in the wrong direction", [][]byte{frame{opcode: opText, data: "2"}.bytes()}},
		{"a probe outside an upgrade", [][]byte{frame{opcode: opText, data: "2probe"}.bytes()}},
	}
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, join(echoing, change))
		bystander, _ := s.connect(t)
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				p, app := s.connect(t)
				p.sendBytes(t, bytes.Join(test.bytes, nil))
				app.wantClosed(t, engineio.ReasonTransportError)
				if code := p.wantClosed(t); code < 0 {
					t.Error("closed without a close frame")
				}
			})
		}
		bystander.text(t, "4unharmed")
		bystander.wantText(t, "4unharmed")
	})
}

// CVE-2016-10542.
func TestAMessageOverTheLimitIsClosedWith1009(t *testing.T) {
	limit := func(c *engineio.Config) { c.MaxPayload = 1000 }
	tests := map[string][]frame{
		"in one frame": {{opcode: opText, data: "4" + strings.Repeat("x", 1000)}},
		"in fragments": {
			{opcode: opText, data: "4" + strings.Repeat("x", 500), more: true},
			{opcode: opContinue, data: strings.Repeat("x", 500)},
		},
		"announced only": {{opcode: opBinary, length: 1001}},
		"far over":       {{opcode: opBinary, data: strings.Repeat("x", 3_000_000)}},
	}
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		for name, frames := range tests {
			t.Run(name, func(t *testing.T) {
				s := open(t, join(limit, change))
				p, app := s.connect(t)
				p.text(t, "4"+strings.Repeat("x", 999))
				app.wantText(t, strings.Repeat("x", 999))
				p.send(t, frames...)
				if code := p.wantClosed(t); code != 1009 {
					t.Errorf("close code is %d", code)
				}
				app.wantClosed(t, engineio.ReasonTransportError)
				nothing(t, app.messages, "a message too large")
			})
		}
	})
}

func TestInvalidUTF8IsClosedWith1007(t *testing.T) {
	s := open(t, nil)
	p, _ := s.connect(t)
	p.text(t, "4\xc3\x28")
	if code := p.wantClosed(t); code != 1007 {
		t.Errorf("close code is %d", code)
	}
}

func TestPingFramesAreAnsweredInPlace(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, join(echoing, change))
		p, _ := s.connect(t)
		p.text(t, "4a")
		p.send(t, frame{opcode: opPing, data: "are you there"})
		p.text(t, "4b")
		p.wantText(t, "4a")
		if f := p.read(t); f.opcode != opPong || f.data != "are you there" {
			t.Errorf("frame is %+v", f)
		}
		p.wantText(t, "4b")
	})
}

func TestTheClientMayLeaveInEveryWay(t *testing.T) {
	tests := map[string]func(*testing.T, *peer){
		"close packet":         func(t *testing.T, p *peer) { p.text(t, "1"); p.wantClosed(t) },
		"close frame":          func(t *testing.T, p *peer) { p.send(t, frame{opcode: opClose, data: "\x03\xe8"}); p.wantClosed(t) },
		"close frame, no code": func(t *testing.T, p *peer) { p.send(t, frame{opcode: opClose}); p.wantClosed(t) },
		"cut":                  func(_ *testing.T, p *peer) { p.Close() },
		"cut in a frame":       func(t *testing.T, p *peer) { p.sendBytes(t, []byte{0x81}); p.Close() },
		"half closed":          func(t *testing.T, p *peer) { p.Conn.(*net.TCPConn).CloseWrite(); p.wantClosed(t) },
		"reset":                func(_ *testing.T, p *peer) { p.Conn.(*net.TCPConn).SetLinger(0); p.Close() },
	}
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		for name, leave := range tests {
			t.Run(name, func(t *testing.T) {
				s := open(t, change)
				p, app := s.connect(t)
				leave(t, p)
				app.wantClosed(t, engineio.ReasonTransportClose)
				if s.Sessions() != 0 {
					t.Errorf("%d sessions", s.Sessions())
				}
			})
		}
	})
}

func TestClosingASessionFlushesItFirst(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, change)
		p, app := s.connect(t)
		large := strings.Repeat("x", 2_000_000) // more than the socket takes at once
		app.Send(text(large), text("last words"))
		app.Close(engineio.ReasonForcedClose)
		app.wantClosed(t, engineio.ReasonForcedClose)
		p.wantText(t, "4"+large)
		p.wantText(t, "4last words")
		if code := p.wantClosed(t); code != 0 {
			t.Errorf("close code is %d", code)
		}
	})
}

func TestNothingIsReceivedAfterClose(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, change)
		p, app := s.connect(t)
		app.Close(engineio.ReasonForcedClose)
		p.text(t, "4too late")
		p.wantClosed(t)
		app.wantClosed(t, engineio.ReasonForcedClose)
		nothing(t, app.messages, "a message")
	})
}

func TestAHandlerMayCloseItsSession(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, change)
		p, app := s.connect(t)
		p.text(t, "4a")
		app.wantText(t, "a")
		app.Close(engineio.ReasonForcedClose)
		app.wantClosed(t, engineio.ReasonForcedClose)
		p.wantClosed(t)
		select {
		case again := <-app.closed:
			t.Errorf("closed twice: %v", again)
		default:
		}
	})
}

// deflated compresses one message as permessage-deflate has it.
func deflated(data string) string {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.BestCompression)
	io.WriteString(w, data)
	w.Flush()
	return strings.TrimSuffix(out.String(), "\x00\x00\xff\xff")
}

func inflated(t *testing.T, data string) string {
	t.Helper()
	r := flate.NewReader(strings.NewReader(data + "\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func deflating(c *engineio.Config) { c.PerMessageDeflate = 1024 }

func TestMessagesAreDeflatedIfLargeAndNegotiated(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, join(deflating, echoing, change))
		p, app := s.connectAs(t, "EIO=4&transport=websocket", "Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
		large := "4" + strings.Repeat("large ", 1000)
		p.send(t, frame{opcode: opText, data: deflated(large), rsv: 4})
		if f := p.read(t); f.rsv != 4 || len(f.data) > 1000 || inflated(t, f.data) != large {
			t.Errorf("frame has bits %d and %d bytes", f.rsv, len(f.data))
		}
		p.text(t, "4small")
		p.wantText(t, "4small")
		batch := engineio.NewBatch(text(large[1:]), text("small"), blob(large))
		app.SendBatch(batch)
		if f := p.read(t); f.rsv != 4 || inflated(t, f.data) != large {
			t.Errorf("frame has bits %d and %d bytes", f.rsv, len(f.data))
		}
		p.wantText(t, "4small")
		if f := p.read(t); f.rsv != 4 || f.opcode != opBinary || inflated(t, f.data) != large {
			t.Errorf("frame has bits %d and %d bytes", f.rsv, len(f.data))
		}
		plain, other := s.connect(t)
		other.SendBatch(batch)
		plain.wantText(t, large)
	})
}

func TestOnlyTheFirstFrameOfAMessageMayBeCompressed(t *testing.T) {
	large := "4" + strings.Repeat("large ", 20_000)
	half, rest := deflated(large)[:50], deflated(large)[50:]
	var allowed []byte
	for _, f := range []frame{
		{opcode: opText, data: half, more: true, rsv: 4}, {opcode: opPing}, {opcode: opContinue, data: rest},
		{opcode: opBinary, data: strings.Repeat("x", 70_000)}, {opcode: opText, data: "4" + strings.Repeat("y", 200)}, {opcode: opText, data: "4"},
	} {
		allowed = append(allowed, f.bytes()...)
	}
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, join(deflating, change))
		for name, frames := range map[string][]frame{
			"ping":         {{opcode: opPing, rsv: 4}},
			"pong":         {{opcode: opPong, data: "x", rsv: 4}},
			"close":        {{opcode: opClose, rsv: 4}},
			"continuation": {{opcode: opText, data: "4a", more: true}, {opcode: opContinue, data: "b", rsv: 4}},
			"all along":    {{opcode: opText, data: half, more: true, rsv: 4}, {opcode: opContinue, data: rest, rsv: 4}},
		} {
			t.Run(name, func(t *testing.T) {
				p, app := s.connectAs(t, "EIO=4&transport=websocket", "Sec-WebSocket-Extensions", "permessage-deflate")
				for piece := range slices.Chunk(allowed, 7) { // which end anywhere in headers
					p.Write(piece)
				}
				for _, want := range []int{len(large) - 1, 70_000, 200, 0} {
					if m := receive(t, app.messages, "a message"); len(m.Data) != want {
						t.Fatalf("message has %d bytes, want %d", len(m.Data), want)
					}
				}
				for _, f := range frames {
					p.Write(f.bytes())
				}
				app.wantClosed(t, engineio.ReasonTransportError)
			})
		}
	})
}

func TestOffersOfDeflateThatCannotBeKeptAreDeclined(t *testing.T) {
	s := open(t, deflating)
	large := strings.Repeat("large ", 1000)
	for offer, taken := range map[string]bool{
		"":                              true,
		"; client_max_window_bits":      true,
		"; client_max_window_bits=9":    true,
		`; server_max_window_bits="15"`: true,
		"; server_no_context_takeover":  true,
		"; server_max_window_bits=9":    false,
		"; server_max_window_bits":      false,
		"; server_no_context_takeover; server_no_context_takeover": false,
		"; client_max_window_bits=99":                              false,
		"; server_no_context_takeover=1":                           false,
		"; unknown":                                                false,
		"; client_max_window_bits=x, more":                         false,
		"; server_max_window_bits=8, permessage-deflate; server_max_window_bits=15": true,
		"; server_max_window_bits=8, permessage-deflate":                            true,
	} {
		t.Run(offer, func(t *testing.T) {
			p, response := s.handshake(t, "EIO=4&transport=websocket", "Sec-WebSocket-Extensions", "permessage-deflate"+offer)
			p.read(t) // the open packet
			answer := response.Header.Get("Sec-WebSocket-Extensions")
			if (answer != "") != taken {
				t.Errorf("answered with %q", answer)
			}
			if asked := taken && strings.Contains(strings.ReplaceAll(offer, `"`, ""), "server_max_window_bits=15"); strings.Contains(answer, "; server_max_window_bits=15") != asked {
				t.Errorf("answered with %q", answer)
			}
			s.session(t).Send(text(large))
			if f := p.read(t); (f.rsv == 4) != taken {
				t.Errorf("frame has bits %d", f.rsv)
			}
		})
	}
}

// gorilla's read limit counts bytes on the wire.
func TestTheLimitHoldsForInflatedMessages(t *testing.T) {
	s := open(t, join(deflating, func(c *engineio.Config) { c.MaxPayload = 10_000 }))
	bomb := deflated("4" + strings.Repeat("x", 100_000_000)) // takes its time, which the heartbeat would not wait
	p, app := s.connectAs(t, "EIO=4&transport=websocket", "Sec-WebSocket-Extensions", "permessage-deflate")
	fits := strings.Repeat("x", 9_999)
	p.send(t, frame{opcode: opText, data: deflated("4" + fits), rsv: 4})
	app.wantText(t, fits)
	p.send(t, frame{opcode: opText, data: bomb, rsv: 4})
	if code := p.wantClosed(t); code != 1009 {
		t.Errorf("close code is %d", code)
	}
	app.wantClosed(t, engineio.ReasonTransportError)
}

func TestAMessageThatDoesNotCompressMayHaveTheLimit(t *testing.T) {
	s := open(t, join(deflating, func(c *engineio.Config) { c.MaxPayload = 10_000 }))
	p, app := s.connectAs(t, "EIO=4&transport=websocket", "Sec-WebSocket-Extensions", "permessage-deflate")
	noise := make([]byte, 10_000)
	for i := range noise {
		noise[i] = byte(i * i >> 3)
	}
	var stored bytes.Buffer
	w, _ := flate.NewWriter(&stored, flate.NoCompression)
	w.Write(noise)
	w.Flush()
	p.send(t, frame{opcode: opBinary, data: strings.TrimSuffix(stored.String(), "\x00\x00\xff\xff"), rsv: 4})
	app.wantBinary(t, string(noise))
}

func TestADeflatedMessageMustBeOne(t *testing.T) {
	s := open(t, deflating)
	p, app := s.connectAs(t, "EIO=4&transport=websocket", "Sec-WebSocket-Extensions", "permessage-deflate")
	p.send(t, frame{opcode: opText, data: "\xff\xff\xff\xff", rsv: 4})
	app.wantClosed(t, engineio.ReasonTransportError)
	p.wantClosed(t)
}

// CVE-2026-48779: memory by tiny fragments.
func TestTinyFragmentsMakeOneMessage(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, change)
		p, app := s.connect(t)
		var b []byte
		for i := range 20_001 {
			f := frame{opcode: opContinue, data: "x", more: i < 20_000}
			if i == 0 {
				f = frame{opcode: opText, data: "4", more: true}
			}
			b = append(b, f.bytes()...)
		}
		p.sendBytes(t, b)
		app.wantText(t, strings.Repeat("x", 20_000))
	})
}

func TestAnUnfinishedMessageHoldsUpNobodyElse(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, join(echoing, change))
		unfinished := [][]byte{
			{0x81},
			{0x81, 0xfe, 0x10},
			frame{opcode: opText, data: "4x"}.bytes()[:7],
			frame{opcode: opText, data: "4x", more: true}.bytes(),
			append(frame{opcode: opText, data: "4x"}.bytes(), 0x81),
		}
		for range 20 {
			for _, b := range unfinished {
				p, _ := s.connect(t)
				p.sendBytes(t, b)
			}
		}
		p, _ := s.connect(t)
		for i := range 50 {
			p.text(t, fmt.Sprint("4", i))
			p.wantText(t, fmt.Sprint("4", i))
		}
	})
}

func TestAFrameInPiecesIsReadWhole(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, join(echoing, change))
		p, _ := s.connect(t)
		for range 3 {
			for _, b := range (frame{opcode: opText, data: "4pieces"}).bytes() {
				p.sendBytes(t, []byte{b})
				runtime.Gosched()
			}
			p.wantText(t, "4pieces")
		}
	})
}

// Descriptors are used again at once; the poller must not mix up their connections.
func TestConnectionsComeAndGo(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, join(echoing, change))
		const crowd = 20
		done := make(chan error, crowd)
		for i := range crowd {
			go func() { done <- comeAndGo(s, i) }()
		}
		for range crowd {
			if err := receive(t, done, "a client's report"); err != nil {
				t.Error(err)
			}
		}
		until(t, func() bool { return s.Sessions() == 0 }, "all sessions to end")
	})
}

func comeAndGo(s *site, i int) error {
	for round := range 20 {
		conn, r, err := dialRaw(s.http.Listener.Addr().String(), websocketPath)
		if err != nil {
			return err
		}
		p := &peer{Conn: conn, r: r}
		want := fmt.Sprintf("4%d/%d", i, round)
		conn.Write(frame{opcode: opText, data: want}.bytes())
		for got := ""; got != want; {
			f, err := p.next()
			if err != nil {
				conn.Close()
				return err
			}
			if got = f.data; got != want && !strings.HasPrefix(got, "0") {
				conn.Close()
				return fmt.Errorf("client %d got %q", i, got)
			}
		}
		conn.Close()
	}
	return nil
}

func TestWebSocketWorksOverTLS(t *testing.T) {
	s := newSite(t, echoing)
	s.http = httptest.NewTLSServer(s.Server)
	t.Cleanup(func() { s.close(t) })
	conn := dialTLS(t, s.http)
	p, _ := shake(t, conn, "EIO=4&transport=websocket")
	p.read(t)
	app := s.session(t)
	large := "4" + strings.Repeat("x", 900_000)
	p.text(t, "4a", large, "4b")
	p.wantText(t, "4a")
	p.wantText(t, large)
	p.wantText(t, "4b")
	app.Send(text("last"))
	app.Close(engineio.ReasonForcedClose)
	p.wantText(t, "4last")
	p.wantClosed(t)
}

func TestGoroutinesEndWithTheirClients(t *testing.T) {
	s := open(t, echoing)
	before := runtime.NumGoroutine()
	var peers []*peer
	for range 50 {
		p, _ := s.connect(t)
		p.text(t, "4x")
		p.wantText(t, "4x")
		peers = append(peers, p)
	}
	if runtime.GOOS == "linux" { // idle clients have none either, but for the poller's
		until(t, func() bool { return runtime.NumGoroutine() <= before+1 }, "connections to park")
	}
	for _, p := range peers {
		p.Close()
	}
	until(t, func() bool { return runtime.NumGoroutine() <= before }, "goroutines to end")
}

// An ahead sends more right behind what is written first.
type ahead struct {
	net.Conn
	more []byte
}

func (a *ahead) Write(p []byte) (int, error) {
	n, err := a.Conn.Write(slices.Concat(p, a.more))
	a.more = nil
	return min(n, len(p)), err
}

func TestWhatIsSentBeforeTheHandshakeIsAnsweredCounts(t *testing.T) {
	for name, extension := range map[string]string{"plain": "", "deflate": "permessage-deflate"} {
		t.Run(name, func(t *testing.T) {
			s := open(t, func(c *engineio.Config) { c.PerMessageDeflate = 1024 })
			var more []byte
			for i := range 3 {
				more = append(more, frame{opcode: opText, data: fmt.Sprintf("4%d%s", i, strings.Repeat("x", 700))}.bytes()...)
			}
			conn, err := s.net()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			p, response := shake(t, &ahead{conn, more}, "EIO=4&transport=websocket", "Sec-WebSocket-Extensions", extension)
			if response.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("answered with %s", response.Status)
			}
			app := s.session(t)
			for i := range 3 {
				app.wantText(t, fmt.Sprintf("%d%s", i, strings.Repeat("x", 700)))
			}
			p.text(t, "4later")
			app.wantText(t, "later")
		})
	}
}

func TestTheFirstSubprotocolIsTaken(t *testing.T) {
	s := open(t, nil)
	_, response := s.handshake(t, "EIO=4&transport=websocket", "Sec-WebSocket-Protocol", "chat, other")
	if got := response.Header.Get("Sec-WebSocket-Protocol"); got != "chat" {
		t.Errorf("the subprotocol is %q", got)
	}
	for _, offer := range []string{"", "no token, chat"} {
		_, response = s.handshake(t, "EIO=4&transport=websocket", "Sec-WebSocket-Protocol", offer)
		if got, ok := response.Header["Sec-Websocket-Protocol"]; ok || response.StatusCode != http.StatusSwitchingProtocols {
			t.Errorf("offered %q: %s, the subprotocol is %q", offer, response.Status, got)
		}
	}
}
