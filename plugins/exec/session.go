package exec

import (
	"bufio"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/plugins/exec/child"
	"github.com/evosink/evosink/plugins/exec/wire"
)

// A session is the conversation with one process, from its start to its end. Three goroutines serve it: one writes, one
// reads, one logs standard error. Its opener calls [session.run], and nothing is left of it when that returns.
type session struct {
	plugin    *Plugin
	proc      *child.Process
	pluginLog *logLimiter

	events   chan []byte // lines of deliveries, each with a place in the window
	others   chan []byte // other lines; nil closes the plugin's standard input
	ready    chan wire.Reply
	drained  chan struct{} // closed by the plugin's answer to drain
	draining atomic.Bool
	heard    atomic.Bool    // something, since this was last looked at
	greeted  bool           // of the reader: ready was read
	faults   faultCount     // of the reader
	servants sync.WaitGroup // the goroutines

	window
	over chan struct{} // closed when the process has ended and its last words are read

	mu sync.Mutex
	// mu guards the fields below.
	reason error // why the host has ended it, if it has
}

// othersLength bounds the lines that are not deliveries; more are dropped, for they are not needed by a plugin that
// does not read.
const othersLength = 16

// open starts a process and its session. The process has been sent nothing yet.
func open(p *Plugin, v *logLimiter) (*session, error) {
	proc, err := child.Start(p.program())
	if err != nil {
		return nil, err
	}
	if proc.Unguarded != nil {
		v.log.Warn().Err(proc.Unguarded).Msg("what the plugin starts may outlive evosink if that is killed")
	}
	s := &session{
		plugin: p, proc: proc, pluginLog: v,
		events: make(chan []byte, wire.MaxInFlight), others: make(chan []byte, othersLength),
		ready: make(chan wire.Reply, 1), drained: make(chan struct{}), over: make(chan struct{}),
	}
	s.servants.Go(s.write)
	s.servants.Go(s.read)
	s.servants.Go(func() { v.copy(wire.NewLines(proc.Err, wire.MaxText), "stderr") })
	return s, nil
}

// greet sends init and returns the plugin's ready. After an error the session must be ended with [session.kill] and
// [session.finish].
func (s *session) greet(init []byte, stop, cut <-chan struct{}) (wire.Reply, error) {
	s.others <- init // the first line always finds room
	patience := time.NewTimer(s.plugin.StartTimeout)
	defer patience.Stop()
	select {
	case r := <-s.ready:
		s.open(s.size(r.MaxInFlight))
		return r, nil
	case <-s.proc.Done():
		return wire.Reply{}, fmt.Errorf("the plugin has not become ready: %w", s.why())
	case <-patience.C:
		return wire.Reply{}, fmt.Errorf("the plugin has not answered init within %v", s.plugin.StartTimeout)
	case <-stop:
	case <-cut:
	}
	return wire.Reply{}, errClosed
}

// size is the window: what the plugin wants, unless less is configured.
func (s *session) size(wanted int) int {
	if n := s.plugin.MaxInFlight; n > 0 {
		return min(n, wanted)
	}
	return wanted
}

// run watches over the process until it ends: by itself, for a reason of ours, or because stop or cut is closed. stop
// lets it drain, cut does not.
func (s *session) run(stop, cut <-chan struct{}) error {
	tick := time.NewTicker(s.plugin.PingInterval)
	defer tick.Stop()
	var asked time.Time // when the ping was sent that nothing has followed yet
	for {
		select {
		case <-s.proc.Done():
			s.finish()
			return s.why()
		case <-cut:
			cut = nil
			s.pluginLog.log.Warn().Msg("the plugin has not answered in time and is killed")
			s.kill(errClosed)
		case <-stop:
			s.drain(cut)
			s.finish()
			return errClosed
		case now := <-tick.C:
			asked = s.beat(asked, now)
		}
	}
}

// beat asks whether the plugin is alive. Anything it says counts as the answer, which is awaited for as long as an
// event may take: a plugin that does one thing at a time answers in between.
func (s *session) beat(asked, now time.Time) time.Time {
	patience := max(s.plugin.Timeout, s.plugin.PingInterval)
	switch {
	case s.heard.Swap(false) || asked.IsZero():
		s.tell(wire.Ping)
		asked = now
	case now.Sub(asked) >= patience:
		s.kill(fmt.Errorf("it has not answered a ping within %v", patience))
	}
	if s.stuck(now.Add(-s.plugin.Timeout)) {
		s.kill(fmt.Errorf("it works on as many events as it can, and has answered none of them within %v", s.plugin.Timeout))
	}
	return asked
}

// drain asks the plugin to end what it does and to go, and sees to it.
func (s *session) drain(cut <-chan struct{}) {
	s.draining.Store(true)
	patience := time.NewTimer(s.plugin.StopTimeout)
	defer patience.Stop()
	for _, step := range []struct {
		line []byte
		done <-chan struct{}
	}{{wire.Drain, s.drained}, {nil, s.proc.Done()}} {
		select {
		case s.others <- step.line:
		case <-s.proc.Done():
		case <-cut:
		case <-patience.C:
		}
		select {
		case <-step.done:
			continue
		case <-s.proc.Done():
		case <-cut:
		case <-patience.C:
		}
		break
	}
	if !isClosed(s.proc.Done()) {
		s.pluginLog.log.Warn().Msg("the plugin has not ended in time and is killed")
	}
	s.kill(errClosed)
}

// finish waits until nothing of the process is left, and answers the deliveries that it still had.
func (s *session) finish() {
	<-s.proc.Done()
	_ = s.proc.In.Close() // ends the writer, also if another process holds the other end
	s.servants.Wait()
	s.proc.Close()
	close(s.over)
}

// kill ends the process; the first reason counts. It does not wait.
func (s *session) kill(reason error) {
	s.mu.Lock()
	if s.reason == nil {
		s.reason = reason
	}
	s.mu.Unlock()
	s.proc.Kill()
}

// why says how the process has ended.
func (s *session) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason != nil {
		return s.reason
	}
	return errors.New(s.proc.Exit())
}

// tell sends a line unless too many wait.
func (s *session) tell(line []byte) {
	select {
	case s.others <- line:
	default:
	}
}

// write is the goroutine that writes. It joins what waits into few writes.
func (s *session) write() {
	w := bufio.NewWriterSize(s.proc.In, 64<<10)
	for {
		select {
		case line := <-s.events:
			_, _ = w.Write(line) // the error comes back from Flush
		case line := <-s.others:
			if line == nil {
				_ = s.proc.In.Close() // everything before it is flushed
				return
			}
			_, _ = w.Write(line)
		case <-s.proc.Done():
			return
		}
		if len(s.events) > 0 || len(s.others) > 0 {
			continue
		}
		if err := w.Flush(); err != nil {
			s.lost("it does not read its standard input any more")
			return
		}
	}
}

// read is the goroutine that reads.
func (s *session) read() {
	lines := wire.NewLines(s.proc.Out, wire.MaxReply)
	for {
		line, cut, err := lines.Next()
		switch {
		case err != nil && s.draining.Load():
			return
		case err != nil:
			s.lost("it has closed its standard output")
			return
		case cut:
			s.kill(fmt.Errorf("it has sent a line of more than %d bytes, which begins with %s", wire.MaxReply, wire.Quote(line)))
			return
		}
		s.heard.Store(true)
		if len(line) == 0 {
			continue
		}
		r, err := wire.Decode(line)
		if err == nil {
			err = s.handle(r)
		}
		if err != nil && !s.fault(err, line) {
			return
		}
	}
}

// lost ends a process that one of the streams has ended of: most often because it is ending itself, which then says
// more.
func (s *session) lost(why string) {
	if retry.Sleep(s.proc.Done(), goodbye) {
		s.kill(errors.New(why))
	}
}

// goodbye is how long a process may go on without a stream.
const goodbye = time.Second

func (s *session) handle(r wire.Reply) error {
	switch {
	case r.Type == wire.Log:
		s.pluginLog.write(r.Level, r.Text, "log")
		return nil
	case r.Type == wire.Ready && !s.greeted:
		s.greeted = true
		s.ready <- r
		return nil
	case !s.greeted:
		return errors.New("the first answer to init must be ready")
	}
	switch r.Type {
	case wire.Ack, wire.Nack:
		return s.answer(r)
	case wire.Drained:
		if !s.draining.Load() || isClosed(s.drained) {
			return errors.New("drained answers nothing: there was no drain")
		}
		close(s.drained)
	case wire.Ready:
		return errors.New("ready was said before")
	}
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// faultLimit is how many lines of a plugin may mean nothing within a minute: a stray print does no harm, a flood ends
// the process.
const faultLimit = 100

type faultCount struct {
	since time.Time
	n     int
}

// fault answers a line that means nothing. It reports whether to go on.
func (s *session) fault(err error, line []byte) bool {
	if now := time.Now(); now.Sub(s.faults.since) > time.Minute {
		s.faults = faultCount{since: now}
	}
	s.faults.n++
	if s.faults.n > faultLimit {
		s.kill(fmt.Errorf("it has sent more than %d lines within a minute that mean nothing; the last one: %w", faultLimit, err))
		return false
	}
	s.pluginLog.write("warn", fmt.Sprintf("%v: %s", err, wire.Quote(line)), "stdout")
	s.tell(wire.Error(err.Error()))
	return true
}
