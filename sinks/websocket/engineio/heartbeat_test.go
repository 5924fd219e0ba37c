package engineio_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// The defaults.
const (
	pingInterval = 25 * time.Second
	pingTimeout  = 20 * time.Second
)

// at fails unless the bubble's clock has moved by want since start.
func at(t *testing.T, start time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(start); got != want {
		t.Fatalf("it is %v, want %v", got, want)
	}
}

func TestPingsComeAnIntervalAfterOpenAndAfterEachPong(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		start := time.Now()
		p, app := s.connect(t)
		p.wantText(t, "2")
		at(t, start, pingInterval)
		time.Sleep(5 * time.Second)
		p.text(t, "3")
		p.wantText(t, "2")
		at(t, start, pingInterval+5*time.Second+pingInterval)
		nothing(t, app.closed, "the end")
	})
}

func TestPingsComeOverPollingToo(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		start := time.Now()
		p, _ := s.poll(t)
		for i := range 3 {
			p.get(t).want(t, 200, "2")
			at(t, start, time.Duration(i+1)*pingInterval)
			p.post(t, "3").want(t, 200, "ok")
		}
	})
}

func TestASessionEndsExactlyWhenThePongIsOverdue(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		start := time.Now()
		p, app := s.poll(t)
		app.wantClosed(t, engineio.ReasonPingTimeout)
		at(t, start, pingInterval+pingTimeout)
		p.get(t).want(t, 400, refused(1))
		ws, app := s.connect(t)
		start = time.Now()
		ws.wantText(t, "2")
		app.wantClosed(t, engineio.ReasonPingTimeout)
		at(t, start, pingInterval+pingTimeout)
		ws.wantClosed(t)
	})
}

// The official suite polls at that very moment.
func TestASessionIsUnknownAtItsDeadlineEvenBeforeTheTimer(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		p, _ := s.poll(t)
		time.Sleep(pingInterval + pingTimeout)
		p.get(t).want(t, 400, refused(1))
	})
}

func TestAPendingPollIsAnsweredAtThePingTimeout(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		p, app := s.poll(t)
		p.get(t).want(t, 200, "2")
		p.get(t).want(t, 200, "1")
		app.wantClosed(t, engineio.ReasonPingTimeout)
	})
}

func TestManySessionsAreDueInTheirOrder(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		start := time.Now()
		var peers []*peer
		for range 10 {
			p, _ := s.connect(t)
			peers = append(peers, p)
			time.Sleep(time.Second)
		}
		peers[3].Close()
		for i, p := range peers {
			if i == 3 {
				continue
			}
			p.wantText(t, "2")
			at(t, start, time.Duration(i)*time.Second+pingInterval)
			p.text(t, "3")
		}
		peers[9].wantText(t, "2")
		at(t, start, 9*time.Second+2*pingInterval)
	})
}

// python-engineio CVE-2026-48802.
func TestPongsThatNobodyAskedForChangeNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		start := time.Now()
		p, _ := s.connect(t)
		time.Sleep(10 * time.Second)
		for range 1000 {
			p.text(t, "3")
		}
		p.wantText(t, "2")
		at(t, start, pingInterval)
		for range 1000 {
			p.text(t, "3")
		}
		p.wantText(t, "2")
		at(t, start, 2*pingInterval)
	})
}

// Engine.IO 6.6.12: a pong may be behind something large.
func TestAMessageExtendsThePongsTimeOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		start := time.Now()
		p, app := s.connect(t)
		p.wantText(t, "2")
		for range 2 {
			time.Sleep(pingTimeout - 5*time.Second)
			p.text(t, "4x")
			app.wantText(t, "x")
		}
		app.wantClosed(t, engineio.ReasonPingTimeout)
		at(t, start, pingInterval+pingTimeout-5*time.Second+pingTimeout)
	})
}

func TestTheHeartbeatGoesOnOverTheNewTransport(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		p, app := s.poll(t)
		time.Sleep(pingInterval + time.Second) // a ping waits for a poll
		ws := s.dial(t, "EIO=4&transport=websocket&sid="+p.sid)
		ws.text(t, "2probe")
		ws.wantText(t, "3probe")
		start := time.Now()
		ws.text(t, "5")
		ws.wantText(t, "2") // not the one for the poll
		at(t, start, pingInterval)
		ws.text(t, "3")
		ws.wantText(t, "2")
		at(t, start, 2*pingInterval)
		app.wantClosed(t, engineio.ReasonPingTimeout)
		at(t, start, 2*pingInterval+pingTimeout)
	})
}

// The client counts from the handshake.
func TestAnUpgradeDoesNotPutOffThePing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		start := time.Now()
		p, app := s.poll(t)
		time.Sleep(10 * time.Second)
		ws := p.probe(t)
		ws.text(t, "5")
		ws.wantText(t, "2")
		at(t, start, pingInterval)
		app.wantClosed(t, engineio.ReasonPingTimeout)
		at(t, start, pingInterval+pingTimeout)
	})
}

func TestRevision3ClientsPing(t *testing.T) {
	inBubble(t, eio3, func(t *testing.T, s *site) {
		p, app := s.connectAs(t, "EIO=3&transport=websocket")
		for range 3 {
			time.Sleep(pingInterval + pingTimeout - time.Second)
			p.text(t, "2data")
			p.wantText(t, "3")
		}
		start := time.Now()
		app.wantClosed(t, engineio.ReasonPingTimeout)
		at(t, start, pingInterval+pingTimeout)
	})
}

func TestAProbeThatTakesTooLongIsClosedAndPollingGoesOn(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		start := time.Now()
		p, app := s.poll(t)
		ws := s.dial(t, "EIO=4&transport=websocket&sid="+p.sid)
		ws.text(t, "2probe")
		ws.wantText(t, "3probe")
		if f := ws.read(t); f.opcode != opClose {
			t.Errorf("frame is %+v", f)
		}
		at(t, start, 10*time.Second)
		app.Send(text("still polling"))
		p.get(t).want(t, 200, "4still polling")
		nothing(t, app.closed, "the end")
	})
}

func TestPollsAreReleasedEvery100MillisecondsWhileUpgrading(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		p, app := s.poll(t)
		answers := make(chan answer, 1)
		go func() { answers <- p.get(t) }()
		synctest.Wait()
		ws := s.dial(t, "EIO=4&transport=websocket&sid="+p.sid)
		ws.text(t, "2probe")
		ws.wantText(t, "3probe")
		receive(t, answers, "the pending poll's answer").want(t, 200, "6")
		for range 3 {
			start := time.Now()
			p.get(t).want(t, 200, "6")
			if took := time.Since(start); took < 100*time.Millisecond || took > 150*time.Millisecond {
				t.Errorf("the poll took %v", took)
			}
		}
		app.Send(text("x"))
		p.get(t).want(t, 200, "4x")
	})
}

func TestAFarewellIsKeptForThirtySeconds(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		p, app := s.poll(t)
		late, lateApp := s.poll(t)
		app.Close(engineio.ReasonForcedClose)
		lateApp.Close(engineio.ReasonForcedClose)
		time.Sleep(30*time.Second - time.Millisecond)
		p.get(t).want(t, 200, "1")
		time.Sleep(2 * time.Millisecond)
		late.get(t).want(t, 400, refused(1))
	})
}

func TestAClientThatDoesNotHangUpIsCutAfterFiveSeconds(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		start := time.Now()
		p, app := s.connect(t)
		app.Close(engineio.ReasonForcedClose)
		if f := p.read(t); f.opcode != opClose {
			t.Errorf("frame is %+v", f)
		}
		p.wantClosed(t)
		at(t, start, 5*time.Second)
	})
}

func TestAClientThatReadsNothingCannotHoldUpServerClose(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site) {
		start := time.Now()
		_, app := s.connect(t)
		app.Send(text("nobody takes this"))
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		at(t, start, 5*time.Second)
	})
}
