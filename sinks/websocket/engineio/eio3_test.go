package engineio_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

func eio3(c *engineio.Config) { c.AllowEIO3 = true }

const (
	polling3   = "EIO=3&transport=polling"
	websocket3 = "EIO=3&transport=websocket"
)

func TestRevision3PollingHandshake(t *testing.T) {
	s := open(t, eio3)
	a := s.ask(t, "GET", polling3, "")
	length, packet, _ := strings.Cut(a.body, ":")
	if length != fmt.Sprint(len(packet)) {
		t.Errorf("length is %s, want %d", length, len(packet))
	}
	decodeOpen(t, packet)
	if app := s.session(t); app.Protocol() != 3 {
		t.Errorf("revision is %d", app.Protocol())
	}
}

func TestRevision3TextOverPollingIsMeasuredInUTF16(t *testing.T) {
	s := open(t, join(eio3, echoing))
	p, _ := s.pollAs(t, polling3)
	p.post(t, "3:4😀2:4€").want(t, 200, "ok")
	a := p.get(t)
	a.want(t, 200, "3:4😀2:4€")
	if got := a.header.Get("Content-Type"); got != "text/plain; charset=UTF-8" {
		t.Errorf("Content-Type is %q", got)
	}
}

func TestRevision3BinaryOverPolling(t *testing.T) {
	const payload = "\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04"
	s := open(t, eio3)
	p, app := s.pollAs(t, polling3)
	s.ask(t, "POST", p.query, payload, "Content-Type", "application/octet-stream").want(t, 200, "ok")
	app.wantText(t, "€")
	app.wantBinary(t, "\x01\x02\x03\x04")
	app.Send(text("€"), blob("\x01\x02\x03\x04"))
	a := p.get(t)
	a.want(t, 200, payload)
	if got := a.header.Get("Content-Type"); got != "application/octet-stream" {
		t.Errorf("Content-Type is %q", got)
	}
}

func TestRevision3Base64OverPolling(t *testing.T) {
	s := open(t, join(eio3, echoing))
	p, _ := s.pollAs(t, polling3+"&b64=1")
	p.post(t, "10:b4AQIDBA==").want(t, 200, "ok")
	p.get(t).want(t, 200, "10:b4AQIDBA==")
}

func TestRevision3OverWebSocket(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, join(eio3, change))
		p, app := s.connectAs(t, websocket3)
		p.text(t, "4hello", "b4AQID")
		p.send(t, frame{opcode: opBinary, data: "\x04\x01\x02"})
		app.wantText(t, "hello")
		app.wantBinary(t, "\x01\x02\x03")
		app.wantBinary(t, "\x01\x02")
		app.SendBatch(engineio.NewBatch(text("hello"), blob("\x01\x02")))
		p.wantText(t, "4hello")
		if f := p.read(t); f != (frame{opcode: opBinary, data: "\x04\x01\x02"}) {
			t.Errorf("frame is %+v", f)
		}
		p.text(t, "2x")
		p.wantText(t, "3")
		p.text(t, "3")
		app.wantClosed(t, engineio.ReasonTransportError)
	})
}

func TestRevision3BadPayloadsEndTheSession(t *testing.T) {
	for _, body := range []string{"-1:4a", "NaN:4a", ":4a", "5:4a", "1:4a", "2:4axyz", "", "abc", strings.Repeat("9", 400) + ":4"} {
		t.Run(shorten(body), func(t *testing.T) {
			s := open(t, eio3)
			p, app := s.pollAs(t, polling3)
			p.post(t, body).want(t, 400, refused(3))
			app.wantClosed(t, engineio.ReasonParseError)
		})
	}
}

func TestRevision3Upgrades(t *testing.T) {
	s := open(t, eio3)
	p, app := s.pollAs(t, polling3)
	ws := s.dial(t, websocket3+"&sid="+p.sid)
	ws.text(t, "2probe")
	ws.wantText(t, "3probe")
	app.Send(text("buffered"))
	ws.text(t, "5")
	ws.wantText(t, "4buffered")
	ws.text(t, "2")
	ws.wantText(t, "3")
}

func TestRevision3ClosesAndPongsOverPolling(t *testing.T) {
	s := open(t, eio3)
	p, app := s.pollAs(t, polling3)
	p.post(t, "1:2").want(t, 200, "ok")
	p.get(t).want(t, 200, "1:3")
	answers := p.later(t, app)
	p.post(t, "1:1").want(t, 200, "ok")
	receive(t, answers, "the pending poll's answer").want(t, 200, "1:6")
	app.wantClosed(t, engineio.ReasonTransportClose)
}

func TestAnyVersionButFourIsThree(t *testing.T) {
	s := open(t, eio3)
	for _, query := range []string{"transport=polling", "EIO=2&transport=polling", "EIO=5&transport=polling"} {
		if a := s.ask(t, "GET", query, ""); a.status != http.StatusOK || !strings.Contains(a.body, ":0{") {
			t.Errorf("%s is answered with %d %s", query, a.status, a.body)
		}
		if app := s.session(t); app.Protocol() != 3 {
			t.Errorf("%s is revision %d", query, app.Protocol())
		}
	}
}
