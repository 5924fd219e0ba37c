// Package crowd is the clients: thousands of websockets that join a server,
// count the events that come, and measure how long they took. A client costs a
// goroutine and no buffer.
package crowd

import (
	"bytes"
	"errors"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/evosink/evosink/sinks/websocket/peers/internal/control"
)

// dialers is how many clients connect at a time.
const dialers = 32

// A Crowd is the clients of one server.
type Crowd struct {
	// Delays of the events that have come since the last Reset.
	Delays Delays

	dialect Dialect
	clients []*client
	events  atomic.Int64
	readers sync.WaitGroup
	buffers sync.Pool
}

// Open connects n clients to the server at address, client i in space(i), and
// has them read. It returns when all have joined.
func Open(address string, dialect Dialect, n int, space func(i int) string) (*Crowd, error) {
	addr, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return nil, err
	}
	c := &Crowd{dialect: dialect, clients: make([]*client, n)}
	c.buffers.New = func() any { return new([64 << 10]byte) }
	errs := make([]error, dialers)
	var next atomic.Int64
	var wg sync.WaitGroup
	for d := range dialers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[d] == nil; i = int(next.Add(1)) - 1 {
				c.clients[i] = &client{crowd: c}
				errs[d] = c.clients[i].dial(addr, space(i))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		c.Close()
		return nil, err
	}
	for _, client := range c.clients {
		c.readers.Go(client.read)
	}
	return c, nil
}

// Pause makes the first n clients read nothing more, as if they hung.
func (c *Crowd) Pause(n int) {
	for _, client := range c.clients[:n] {
		client.paused.Store(true)
	}
}

// Reset begins to count anew.
func (c *Crowd) Reset() {
	c.events.Store(0)
	c.Delays.reset()
}

// Events is how many events have come since the last Reset.
func (c *Crowd) Events() int { return int(c.events.Load()) }

// Await waits until n events have come, or none has for patience, and returns
// how many have.
func (c *Crowd) Await(n int, patience time.Duration) int {
	last, since := c.Events(), time.Now()
	for last < n && time.Since(since) < patience {
		time.Sleep(5 * time.Millisecond)
		if now := c.Events(); now != last {
			last, since = now, time.Now()
		}
	}
	return last
}

// Close hangs up.
func (c *Crowd) Close() {
	for _, client := range c.clients {
		if client != nil && client.file != nil {
			client.file.Close()
		}
	}
	c.readers.Wait()
}

// A client is one websocket.
type client struct {
	crowd  *Crowd
	file   *os.File
	early  []byte // what came with the answer to the handshake
	scan   scanner
	paused atomic.Bool
}

// read takes what comes until the connection ends. The buffer is taken only
// when there is something to read.
func (c *client) read() {
	raw, err := c.file.SyscallConn()
	if err != nil {
		return
	}
	raw.Read(func(fd uintptr) (ended bool) {
		buf := c.crowd.buffers.Get().(*[64 << 10]byte)
		defer c.crowd.buffers.Put(buf)
		c.take(int(fd), c.early)
		c.early = nil
		for !c.paused.Load() {
			n, err := syscall.Read(int(fd), buf[:])
			if err == syscall.EAGAIN {
				return false
			}
			if err != nil || n == 0 {
				return true
			}
			c.take(int(fd), buf[:n])
		}
		return true
	})
}

// take counts the events in b and answers heartbeats.
func (c *client) take(fd int, b []byte) {
	now, events := time.Now(), 0
	for piece, end, rest, ok := c.scan.next(b); ok; piece, end, rest, ok = c.scan.next(rest) {
		if end && c.isPing(piece) {
			syscall.Write(fd, frame(c.crowd.dialect.Pong)) // one that is lost ends the connection
		}
		events += c.count(piece, now)
	}
	c.crowd.events.Add(int64(events))
}

// isPing reports whether piece is a heartbeat or ends with one, on a line of
// its own.
func (c *client) isPing(piece []byte) bool {
	ping := c.crowd.dialect.Ping
	return ping != "" && string(piece[bytes.LastIndexByte(piece, '\n')+1:]) == ping
}

// count counts the events in piece. Those whose time stands in it are measured,
// which all but a few do.
func (c *client) count(piece []byte, now time.Time) (events int) {
	for at := bytes.IndexByte(piece, control.Mark); at >= 0; at = bytes.IndexByte(piece, control.Mark) {
		events++
		if at >= control.Stamp {
			if sent, err := strconv.ParseInt(string(piece[at-control.Stamp:at]), 10, 64); err == nil {
				c.crowd.Delays.add(now.Sub(time.Unix(0, sent)))
			}
		}
		piece = piece[at+1:]
	}
	return events
}
