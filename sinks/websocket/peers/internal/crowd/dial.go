package crowd

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// A Dialect is how clients speak to one server.
type Dialect struct {
	// Path is what the websocket of a client of a space is requested at.
	Path func(space string) string
	// Join is what the client sends to join space, nil if it has joined with
	// its request. It waits for a message that begins with Greeting before,
	// and for one that begins with Joined after.
	Join             func(space string) string
	Greeting, Joined string
	// Ping is the server's heartbeat, and Pong the answer.
	Ping, Pong string
}

// SocketIO is how clients of all socket.io servers speak.
var SocketIO = Dialect{
	Path: func(string) string { return "/socket.io/?EIO=4&transport=websocket" },
	Join: func(space string) string {
		if space == "/" {
			return "40"
		}
		return "40" + space + ","
	},
	Greeting: "0{", Joined: "40", Ping: "2", Pong: "3",
}

// Centrifuge is the JSON protocol of centrifuge.
var Centrifuge = Dialect{
	Path:   func(string) string { return "/" },
	Join:   func(space string) string { return `{"id":1,"connect":{"subs":{"` + space + `":{}}}}` },
	Joined: `{"id":1,"connect":`, Ping: "{}", Pong: "{}",
}

// Bare is for a server that sends events and nothing else.
var Bare = Dialect{Path: func(space string) string { return "/?space=" + space }}

// dial opens and joins. It spends little, so that the server is what connecting
// waits for: a connection on loopback is there at once, and its descriptor
// needs no more of package net than the poller.
func (c *client) dial(addr *net.TCPAddr, space string) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())})
	if err == nil {
		err = syscall.SetNonblock(fd, true)
	}
	if err != nil {
		syscall.Close(fd)
		return os.NewSyscallError("connect", err)
	}
	c.file = os.NewFile(uintptr(fd), "client")
	return c.handshake(addr.String(), space)
}

func (c *client) handshake(host, space string) error {
	c.file.SetDeadline(time.Now().Add(30 * time.Second))
	defer c.file.SetDeadline(time.Time{})
	d := c.crowd.dialect
	fmt.Fprintf(c.file, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", d.Path(space), host)
	head, err := c.until(func(b []byte) int { return bytes.Index(b, []byte("\r\n\r\n")) + 4 })
	if err != nil {
		return err
	}
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		return fmt.Errorf("handshake: the server answered %.60q", head)
	}
	if d.Join == nil {
		return nil
	}
	if err := c.expect(d.Greeting); err != nil {
		return err
	}
	if _, err := c.file.Write(frame(d.Join(space))); err != nil {
		return err
	}
	return c.expect(d.Joined)
}

// expect reads the next frame if prefix is not empty, and compares.
func (c *client) expect(prefix string) error {
	if prefix == "" {
		return nil
	}
	text, err := c.until(func(b []byte) int {
		if len(b) < 4 || b[1] == 126 && len(b) < 4+int(b[2])<<8+int(b[3]) {
			return 0
		}
		if b[1] == 126 {
			return 4 + int(b[2])<<8 + int(b[3])
		}
		return 2 + int(b[1])
	})
	if err != nil {
		return err
	}
	if !strings.Contains(text[:min(len(text), 4+len(prefix))], prefix) {
		return fmt.Errorf("expected %s, the server sent %.80q", prefix, text)
	}
	return nil
}

// until reads until end finds an end, a count above 3 of bytes that have come,
// and returns what stands before it.
func (c *client) until(end func([]byte) int) (string, error) {
	buf := make([]byte, 1024)
	for {
		if n := end(c.early); n > 3 && n <= len(c.early) {
			text := string(c.early[:n])
			c.early = c.early[n:]
			return text, nil
		}
		n, err := c.file.Read(buf)
		if err != nil {
			return "", fmt.Errorf("handshake: %w", err)
		}
		c.early = append(c.early, buf[:n]...)
	}
}

// frame is a client's text frame, masked with zeros (RFC 6455, 5.2).
func frame(text string) []byte {
	return append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
}
