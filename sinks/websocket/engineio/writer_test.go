package engineio_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

func TestWhatIsSentKeepsItsOrderForASlowReader(t *testing.T) {
	s := open(t, func(c *engineio.Config) { c.MaxQueueBytes = 100 << 20 })
	p, app := s.connect(t)
	const count = 2000
	filler := strings.Repeat("x", 5000) // together more than the socket takes
	for i := range count {
		one, two := text(fmt.Sprint(i, filler)), blob(fmt.Sprint(i))
		switch i % 3 {
		case 0:
			app.Send(one, two)
		case 1:
			app.SendBatch(engineio.NewBatch(one, two))
		case 2:
			app.Send(one)
			app.SendBatch(engineio.NewBatch(two))
		}
	}
	if app.Writable() {
		t.Error("nothing is queued")
	}
	if app.SendVolatile(text("volatile")) {
		t.Error("a volatile message is queued")
	}
	for i := range count {
		p.wantText(t, fmt.Sprint("4", i, filler))
		if f := p.read(t); f.opcode != opBinary || f.data != fmt.Sprint(i) {
			t.Fatalf("frame is %d %s", f.opcode, shorten(f.data))
		}
	}
	until(t, app.Writable, "the queue to be drained")
	if !app.SendVolatile(text("volatile")) {
		t.Error("a volatile message is dropped")
	}
	p.wantText(t, "4volatile")
}

func TestFramesOfOneCallAreContiguous(t *testing.T) {
	s := open(t, func(c *engineio.Config) { c.MaxQueueBytes = 100 << 20 })
	p, app := s.connect(t)
	const senders, rounds = 8, 200
	var all sync.WaitGroup
	for sender := range senders {
		all.Go(func() {
			for range rounds {
				size := rand.IntN(20_000)
				app.Send(text(fmt.Sprint(sender)), blob(strings.Repeat("x", size)), text(fmt.Sprint(sender)))
			}
		})
	}
	for range senders * rounds {
		head := p.read(t)
		p.send(t, frame{opcode: opPing}) // its answer comes between calls only
		if head.opcode == opPong {
			head = p.read(t)
		}
		for head.opcode == opPong {
			head = p.read(t)
		}
		body, tail := p.read(t), p.read(t)
		if body.opcode != opBinary || tail != head {
			t.Fatalf("frames are %d %q, %d, %d %q", head.opcode, head.data, body.opcode, tail.opcode, shorten(tail.data))
		}
	}
	all.Wait()
}

func TestASlowClientIsEndedAndHoldsUpNobody(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, join(change, func(c *engineio.Config) { c.MaxQueueBytes = 1 << 20 }))
		_, slow := s.connect(t) // never reads
		p, app := s.connect(t)
		chunk := strings.Repeat("x", 64<<10)
		var ended bool
		for i := 0; !ended && i < 10_000; i++ {
			batch := engineio.NewBatch(text(chunk))
			ended = slow.SendBatch(batch) != nil
			if err := app.SendBatch(batch); err != nil {
				t.Fatal(err)
			}
			p.wantText(t, "4"+chunk)
		}
		if !ended {
			t.Fatal("the slow client is never ended")
		}
		slow.wantClosed(t, engineio.ReasonSlowClient)
	})
}

func TestAFloodOfPingFramesIsBoundedToo(t *testing.T) {
	s := open(t, func(c *engineio.Config) { c.MaxQueueBytes = 10_000 })
	p, app := s.connect(t)
	ping := frame{opcode: opPing, data: strings.Repeat("x", 125)}.bytes()
	flood := []byte(strings.Repeat(string(ping), 1000))
	go func() { // reads no answer
		for {
			if _, err := p.Write(flood); err != nil {
				return
			}
		}
	}()
	app.wantClosed(t, engineio.ReasonSlowClient)
}

func TestServerCloseEndsEverySession(t *testing.T) {
	readers(t, func(t *testing.T, change func(*engineio.Config)) {
		s := open(t, change)
		ws, wsApp := s.connect(t)
		p, pollApp := s.poll(t)
		answers := p.later(t, pollApp)
		idle, idleApp := s.poll(t)
		probed, probedApp := s.poll(t)
		probe := probed.probe(t)
		wsApp.Send(text("last words"))
		done := make(chan error)
		go func() { done <- s.Close(t.Context()) }()
		ws.wantText(t, "4last words")
		ws.wantClosed(t)
		ws.Close()
		probe.wantClosed(t)
		probe.Close()
		receive(t, answers, "the pending poll's answer").want(t, 200, "1")
		if err := receive(t, done, "the end of Close"); err != nil {
			t.Error(err)
		}
		for _, app := range []*session{wsApp, pollApp, idleApp, probedApp} {
			app.wantClosed(t, engineio.ReasonShutdown)
		}
		idle.get(t).want(t, 400, refused(1))
		if a := s.ask(t, "GET", pollingQuery, ""); a.status != 503 {
			t.Errorf("a handshake is answered with %d", a.status)
		}
		if _, late := s.handshake(t, "EIO=4&transport=websocket"); late.StatusCode != 503 {
			t.Errorf("a websocket handshake is answered with %s", late.Status)
		}
	})
}

func TestServerCloseCutsWhatIsLeftWhenItsContextEnds(t *testing.T) {
	s := open(t, func(c *engineio.Config) { c.MaxQueueBytes = 100 << 20 })
	p, app := s.connect(t) // does not hang up
	app.Send(text(strings.Repeat("x", 20<<20)))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close returns %v", err)
	}
	p.SetDeadline(time.Now().Add(patience))
	if n, err := io.Copy(io.Discard, p.r); n >= 20<<20 {
		t.Errorf("the client has read everything: %d bytes, %v", n, err)
	}
}
