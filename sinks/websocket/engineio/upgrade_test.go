package engineio_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// probe opens a websocket for p's session and has its probe answered.
func (p *poller) probe(t testing.TB) *peer {
	t.Helper()
	ws := p.site.dial(t, "EIO=4&transport=websocket&sid="+p.sid)
	ws.text(t, "2probe")
	ws.wantText(t, "3probe")
	return ws
}

func TestAnUpgradeMovesTheSessionAndWhatWaits(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, change)
		p, app := s.poll(t)
		answers := p.later(t, app)
		ws := p.probe(t)
		receive(t, answers, "the pending poll's answer").want(t, 200, "6")
		ws.text(t, "2probe")
		ws.wantText(t, "3probe")
		app.Send(text("one"), blob("two"))
		if app.Transport() != engineio.Polling {
			t.Error("the transport has changed too early")
		}
		ws.text(t, "5")
		ws.wantText(t, "4one")
		if f := ws.read(t); f.opcode != opBinary || f.data != "two" {
			t.Errorf("frame is %+v", f)
		}
		if app.Transport() != engineio.WebSocket {
			t.Error("the transport has not changed")
		}
		app.Send(text("three"))
		ws.wantText(t, "4three")
		ws.text(t, "4four")
		app.wantText(t, "four")
		p.get(t).want(t, 400, refused(3))
		p.post(t, "4x").want(t, 400, refused(3))
		ws.text(t, "4still here")
		app.wantText(t, "still here")
	})
}

// A client whose probe was answered polls no more.
func TestASessionThatIsClosedDuringItsUpgradeIsFetchedByEitherTransport(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	ws := p.probe(t)
	app.Send(text("bye"))
	app.Close(engineio.ReasonForcedClose)
	app.wantClosed(t, engineio.ReasonForcedClose)
	ws.text(t, "5")
	ws.wantText(t, "4bye")
	ws.wantClosed(t)
	p.get(t).want(t, 400, refused(1))

	p, app = s.poll(t)
	ws = p.probe(t)
	app.Send(text("bye"))
	app.Close(engineio.ReasonForcedClose)
	p.get(t).want(t, 200, "4bye")
	p.get(t).want(t, 200, "1")
	ws.wantClosed(t)
}

func TestServerCloseDoesNotWaitForAnUpgradeThatMightFetchTheRest(t *testing.T) {
	inBubble(t, func(c *engineio.Config) { c.UpgradeTimeout = time.Minute }, func(t *testing.T, s *site) {
		p, app := s.poll(t)
		ws := p.probe(t)
		app.Close(engineio.ReasonForcedClose)
		app.wantClosed(t, engineio.ReasonForcedClose)
		start := time.Now()
		go func() {
			ws.wantClosed(t)
			ws.Close()
		}()
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestAPollPendingAtTheUpgradeIsReleased(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	ws := p.probe(t)
	answers := p.later(t, app)
	ws.text(t, "5")
	receive(t, answers, "the poll's answer").want(t, 200, "6")
	app.Send(text("x"))
	ws.wantText(t, "4x")
}

// CVE-2022-21676: an invalid frame during an upgrade.
func TestAnythingButAProbeFirstClosesTheWebSocketOnly(t *testing.T) {
	s := open(t, nil)
	for _, f := range []frame{
		{opcode: opText, data: "4hello"},
		{opcode: opText, data: "2"},
		{opcode: opText, data: "2probeX"},
		{opcode: opText, data: "3probe"},
		{opcode: opText, data: "1"},
		{opcode: opText, data: "garbage"},
		{opcode: opText},
		{opcode: opBinary, data: "\x01"},
		{opcode: opText, data: "2probe", rsv: 2},
		{opcode: opClose},
	} {
		t.Run(fmt.Sprintf("%d %s", f.opcode, f.data), func(t *testing.T) {
			p, app := s.poll(t)
			ws := s.dial(t, "EIO=4&transport=websocket&sid="+p.sid)
			ws.send(t, f)
			ws.wantClosed(t)
			app.Send(text("still polling"))
			p.get(t).want(t, 200, "4still polling")
			again := p.probe(t) // a later upgrade is possible
			again.text(t, "5", "4moved")
			app.wantText(t, "moved")
		})
	}
}

func TestAnUpgradeThatDoesNotCompleteIsEnded(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, join(change, func(c *engineio.Config) { c.UpgradeTimeout = 2 * time.Second }))
		p, app := s.poll(t)
		upgraded := p.probe(t)
		upgraded.text(t, "5")
		silent, _ := s.poll(t)
		slow, slowApp := s.poll(t)
		word := s.dial(t, "EIO=4&transport=websocket&sid="+silent.sid) // never a word
		probe := slow.probe(t)                                         // probed, but no more
		word.wantClosed(t)
		probe.wantClosed(t)
		upgraded.text(t, "4moved") // the time is up for an upgrade, not for what has made it before these
		app.wantText(t, "moved")
		slowApp.Send(text("still polling"))
		slow.get(t).want(t, 200, "4still polling")
		again := slow.probe(t)
		again.text(t, "5", "4moved too")
		slowApp.wantText(t, "moved too")
	})
}

// CVE-2022-41940: a reset in the middle of an upgrade.
func TestADroppedProbeLeavesPollingAlone(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	for range 3 {
		var ws *peer
		until(t, func() bool { // the server hears of the reset before in its own time
			ws = s.dial(t, "EIO=4&transport=websocket&sid="+p.sid)
			ws.text(t, "2probe")
			f, err := ws.next()
			return err == nil && f.data == "3probe"
		}, "another upgrade to be possible")
		ws.Conn.(*net.TCPConn).SetLinger(0)
		ws.Close()
	}
	app.Send(text("still polling"))
	p.get(t).want(t, 200, "4still polling")
}

func TestOfUpgradesInParallelOneWins(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	first := p.probe(t)
	var others sync.WaitGroup
	for range 5 {
		ws := s.dial(t, "EIO=4&transport=websocket&sid="+p.sid)
		others.Go(func() {
			ws.Write(frame{opcode: opText, data: "2probe"}.bytes())
			ws.Write(frame{opcode: opText, data: "5"}.bytes())
			ws.Write(frame{opcode: opText, data: "4stolen"}.bytes())
			for {
				f, err := ws.next()
				if err != nil {
					return
				}
				if f.opcode == opText {
					t.Errorf("another websocket got %q", f.data)
				}
			}
		})
	}
	others.Wait()
	first.text(t, "5")
	app.Send(text("for the first"))
	first.wantText(t, "4for the first")
	nothing(t, app.messages, "a message of another websocket")
}

func TestNobodyTakesOverAWebSocketSession(t *testing.T) {
	s := open(t, nil)
	ws, app := s.connect(t)
	thief := s.dial(t, "EIO=4&transport=websocket&sid="+app.ID())
	thief.Write(append(frame{opcode: opText, data: "5"}.bytes(), frame{opcode: opText, data: "4stolen"}.bytes()...))
	thief.wantClosed(t)
	app.Send(text("for the owner"))
	ws.wantText(t, "4for the owner")
	nothing(t, app.messages, "a message of the thief")
}

func TestClosingASessionClosesItsProbe(t *testing.T) {
	s := open(t, nil)
	p, app := s.poll(t)
	ws := p.probe(t)
	answers := p.later(t, app)
	app.Close(engineio.ReasonForcedClose)
	receive(t, answers, "the poll's answer").want(t, 200, "1")
	ws.wantClosed(t)
	app.wantClosed(t, engineio.ReasonForcedClose)
}

func TestMessagesStayInOrderAcrossAnUpgrade(t *testing.T) {
	const count = 3000
	s := open(t, nil)
	p, app := s.poll(t)
	go func() {
		for i := range count {
			app.Send(text(fmt.Sprint(i)))
		}
	}()
	next := 0
	take := func(packet string) {
		if packet == "6" {
			return
		}
		if want := fmt.Sprint("4", next); packet != want {
			t.Fatalf("packet is %q, want %q", packet, want)
		}
		next++
	}
	for next < 100 {
		for packet := range strings.SplitSeq(p.get(t).body, "\x1e") {
			take(packet)
		}
	}
	ws := p.probe(t)
	ws.text(t, "5")
	for next < count {
		take(ws.read(t).data)
	}
}

// A connection may be reset at any moment of its beginning.
func TestResetsRightBehindTheHandshakeCostNobodyElseAnything(t *testing.T) {
	s := open(t, echoing)
	request := "GET /?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
	for range 200 {
		p := s.dial(t, "EIO=4&transport=websocket")
		p.read(t)
		for range 3 {
			conn, err := s.net()
			if err != nil {
				t.Fatal(err)
			}
			conn.Write([]byte(request))
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
		p.text(t, "4still here")
		p.wantText(t, "4still here")
	}
}
