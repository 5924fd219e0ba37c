package rabbitmq_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/rabbitmq"
)

// The frames below are as much of a broker as a handshake needs (AMQP 0-9-1, 2.2): they show what a client says on the
// wire about users, virtual hosts and frames, for which the real broker would have to be configured.

func method(class, id uint16, args ...byte) []byte {
	payload := binary.BigEndian.AppendUint16(nil, class)
	payload = append(binary.BigEndian.AppendUint16(payload, id), args...)
	frame := append([]byte{1, 0, 0}, binary.BigEndian.AppendUint32(nil, uint32(len(payload)))...)
	return append(append(frame, payload...), 0xce)
}

func longstr(s string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
}

func shortstr(s string) []byte { return append([]byte{byte(len(s))}, s...) }

// readMethod returns the payload of the next frame.
func readMethod(r io.Reader) ([]byte, error) {
	head := make([]byte, 7)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
	_, err := io.ReadFull(r, body)
	return body[:len(body)-1], err
}

// A greeting is what a client said in its handshake.
type greeting struct{ startOK, tuneOK, open []byte }

// greet shakes hands. The broker's offer of frames is 128 KiB, of heartbeats 60 s.
func greet(conn net.Conn) (g greeting, err error) {
	if _, err = io.ReadFull(conn, make([]byte, 8)); err != nil {
		return g, err
	}
	start := append([]byte{0, 9, 0, 0, 0, 0}, append(longstr("PLAIN"), longstr("en_US")...)...)
	tune := binary.BigEndian.AppendUint16(nil, 0)
	tune = binary.BigEndian.AppendUint32(tune, 128<<10)
	tune = binary.BigEndian.AppendUint16(tune, 60)
	for _, step := range []struct {
		say  []byte
		hear []*[]byte
	}{{method(10, 10, start...), []*[]byte{&g.startOK}}, {method(10, 30, tune...), []*[]byte{&g.tuneOK, &g.open}}} {
		if _, err = conn.Write(step.say); err != nil {
			return g, err
		}
		for _, heard := range step.hear {
			if *heard, err = readMethod(conn); err != nil {
				return g, err
			}
		}
	}
	_, err = conn.Write(method(10, 41, 0))
	return g, err
}

// fake serves each connection with f, one after the other, until the test ends.
func fake(t *testing.T, f func(net.Conn)) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f(conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done }) // what f waits for ends with t.Context
	return l.Addr().String()
}

func TestCredentialsVhostAndFrameSizeReachTheBrokerAsMeant(t *testing.T) {
	for name, change := range map[string]func(c *rabbitmq.Config, address string){
		"percent-encoded in the URI": func(c *rabbitmq.Config, address string) {
			c.URI = "amqp://us%40er:p%2Fa%3As%25s@" + address + "/%2Fprod%2Feu"
		},
		"beside the URI": func(c *rabbitmq.Config, address string) {
			c.URI, c.Username, c.Password = "amqp://"+address+"/%2Fprod%2Feu", "us@er", "p/a:s%s"
		},
	} {
		t.Run(name, func(t *testing.T) {
			heard := make(chan greeting, 1)
			address := fake(t, func(conn net.Conn) {
				if g, err := greet(conn); err == nil {
					select {
					case heard <- g:
					default:
					}
				}
				io.Copy(io.Discard, conn)
			})
			c := rabbitmq.Defaults()
			change(&c, address)
			c.FrameMax, c.Heartbeat = 8192, 7*time.Second
			start(t, c)
			g := <-heard
			if !bytes.Contains(g.startOK, longstr("\x00us@er\x00p/a:s%s")) {
				t.Errorf("credentials: %q", g.startOK)
			}
			if !bytes.Contains(g.open, shortstr("/prod/eu")) {
				t.Errorf("vhost: %q", g.open)
			}
			if frame := binary.BigEndian.Uint32(g.tuneOK[6:]); frame != 8192 {
				t.Errorf("frame_max %d", frame)
			}
			if beat := binary.BigEndian.Uint16(g.tuneOK[10:]); beat != 7 {
				t.Errorf("heartbeat %d s", beat)
			}
		})
	}
}

func TestABrokerThatBlocksPublishersIsUnavailableUntilItUnblocks(t *testing.T) {
	unblock := make(chan struct{})
	address := fake(t, func(conn net.Conn) {
		if _, err := greet(conn); err != nil {
			return
		}
		readMethod(conn) // the request to open a channel: RabbitMQ blocks those who want something
		conn.Write(method(10, 60, shortstr("low on memory")...))
		select {
		case <-unblock:
		case <-t.Context().Done(): // the test has failed
		}
		conn.Write(method(10, 61))
		io.Copy(io.Discard, conn)
	})
	c := rabbitmq.Defaults()
	c.URI = "amqp://" + address
	var log bytes.Buffer
	available := make(chan struct{}, 2)
	s := start(t, c, sink.Host{
		Logger: zerolog.New(zerolog.SyncWriter(&log)), Directory: sinktest.Directory{},
		Available: func() { available <- struct{}{} },
	})
	<-available // connected
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { first <- s.Deliver(ctx, sinktest.NewDelivery(sink.Global, "sales", "call")) }()
	sinktest.Eventually(t, "the sink knows", func() bool {
		err := s.Check(t.Context())
		return err != nil && strings.Contains(err.Error(), "low on memory")
	})
	cancel()
	<-first
	err := s.Deliver(t.Context(), sinktest.NewDelivery(sink.Global, "sales", "call"))
	if !sink.IsUnavailable(err) || !strings.Contains(err.Error(), "low on memory") {
		t.Errorf("Deliver: %v", err)
	}
	close(unblock)
	sinktest.Eventually(t, "the sink is healthy", func() bool { return s.Check(t.Context()) == nil })
	select {
	case <-available:
	case <-time.After(sinktest.Patience):
		t.Error("the core is not told that the broker takes events again: what waits goes on waiting")
	}
	s.Close(t.Context())
	for _, line := range []string{"RabbitMQ has blocked publishers", "low on memory", "RabbitMQ has unblocked publishers"} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("an operator finds no %q in the log: %s", line, log.String())
		}
	}
}

// The broker takes the connection and then answers nothing: a hung one, or a firewall's idea of a closed port.
func TestABrokerThatDoesNotAnswerHoldsNobody(t *testing.T) {
	address := fake(t, func(net.Conn) { <-t.Context().Done() })
	c := rabbitmq.Defaults()
	c.URI, c.ConnectTimeout = "amqp://"+address, 100*time.Millisecond
	s := start(t, c)
	if err := s.Deliver(t.Context(), sinktest.NewDelivery(sink.Global, "sales", "call")); !sink.IsUnavailable(err) {
		t.Errorf("no answer to the handshake: %v", err)
	}

	address = fake(t, func(conn net.Conn) { greet(conn); <-t.Context().Done() })
	c.URI, c.ConnectTimeout = "amqp://"+address, 5*time.Second
	s = start(t, c)
	sinktest.Eventually(t, "connected", func() bool { return s.Check(t.Context()) == nil })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Deliver(ctx, sinktest.NewDelivery(sink.Global, "sales", "call")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no answer to a declaration: %v", err)
	}
}

func TestNoPasswordIsEverShown(t *testing.T) {
	b := newBroker(t)
	var log bytes.Buffer
	c := b.config()
	c.URI = strings.Replace(b.uri, "guest:guest@", "guest:s3cret@", 1)
	s := start(t, c, sink.Host{Logger: zerolog.New(zerolog.SyncWriter(&log)), Directory: sinktest.Directory{}})
	sinktest.Eventually(t, "the broker refuses", func() bool { _, last := s.Connection(); return last != nil })
	err := errors.Join(s.Check(t.Context()), s.Deliver(t.Context(), sinktest.NewDelivery(sink.Global, "sales", "call")))
	if text := err.Error(); strings.Contains(text, "s3cret") || !strings.Contains(text, "403") {
		t.Errorf("errors: %s", text)
	}
	s.Close(t.Context())
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("log: %s", log.String())
	}
	for _, bad := range []string{"amqp://u:s3cret@h:port/", "amqp://u:s3c ret@h", "http://u:s3cret@h", "amqp://u:s3cret%zz@h/", "amqp://u:s3cret/w@h:5672"} {
		c := rabbitmq.Config{Enabled: true, URI: bad}
		if err := c.Validate(); err == nil || strings.Contains(err.Error(), "s3c") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
