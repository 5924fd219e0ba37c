package engineio_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A peer is the client's end of a websocket, byte by byte.
type peer struct {
	net.Conn
	r *bufio.Reader
}

// Opcodes of RFC 6455.
const (
	opContinue = 0
	opText     = 1
	opBinary   = 2
	opClose    = 8
	opPing     = 9
	opPong     = 10
)

// A frame is a websocket frame as a test means it, faults included.
type frame struct {
	opcode   byte
	data     string
	more     bool // FIN is not set
	rsv      byte // the three bits, as a number
	unmasked bool
	length   uint64 // claimed instead of the data's
}

func (f frame) bytes() []byte {
	first := f.opcode | f.rsv<<4
	if !f.more {
		first |= 0x80
	}
	mask := byte(0x80)
	if f.unmasked {
		mask = 0
	}
	b := []byte{first}
	switch n := len(f.data); {
	case f.length > 0:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), f.length)
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if !f.unmasked {
		b = append(b, 0, 0, 0, 0) // a mask that changes nothing
	}
	return append(b, f.data...)
}

// dial makes a websocket with a query and headers.
func (s *site) dial(t testing.TB, query string, headers ...string) *peer {
	t.Helper()
	p, response := s.handshake(t, query, headers...)
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("websocket handshake answered with %s", response.Status)
	}
	return p
}

func (s *site) handshake(t testing.TB, query string, headers ...string) (*peer, *http.Response) {
	t.Helper()
	conn, err := s.net()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return shake(t, conn, query, headers...)
}

// shake sends a websocket handshake; headers replace those it would send.
func shake(t testing.TB, conn net.Conn, query string, headers ...string) (*peer, *http.Response) {
	t.Helper()
	header := http.Header{
		"Host":                  {"test"},
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
	for i := 0; i < len(headers); i += 2 {
		header.Set(headers[i], headers[i+1])
	}
	var request strings.Builder
	fmt.Fprintf(&request, "GET /?%s HTTP/1.1\r\n", query)
	header.Write(&request)
	request.WriteString("\r\n")
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request.String()); err != nil {
		t.Fatal(err)
	}
	p := &peer{conn, bufio.NewReader(conn)}
	response, err := http.ReadResponse(p.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p, response
}

// connect opens a session over websocket.
func (s *site) connect(t testing.TB) (*peer, *session) {
	t.Helper()
	return s.connectAs(t, "EIO=4&transport=websocket")
}

func (s *site) connectAs(t testing.TB, query string, headers ...string) (*peer, *session) {
	t.Helper()
	p := s.dial(t, query, headers...)
	if open := p.read(t); open.opcode != opText || !strings.HasPrefix(open.data, "0{") {
		t.Fatalf("the first frame is %+v", open)
	}
	return p, s.session(t)
}

func (p *peer) send(t testing.TB, frames ...frame) {
	t.Helper()
	var b []byte
	for _, f := range frames {
		b = append(b, f.bytes()...)
	}
	p.sendBytes(t, b)
}

func (p *peer) sendBytes(t testing.TB, b []byte) {
	t.Helper()
	p.SetDeadline(time.Now().Add(patience))
	if _, err := p.Write(b); err != nil {
		t.Fatal(err)
	}
}

func (p *peer) text(t testing.TB, packets ...string) {
	t.Helper()
	for _, packet := range packets {
		p.send(t, frame{opcode: opText, data: packet})
	}
}

// read returns the next frame.
func (p *peer) read(t testing.TB) frame {
	t.Helper()
	f, err := p.next()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var errMasked = errors.New("the server's frame is masked")

func (p *peer) next() (f frame, err error) {
	p.SetReadDeadline(time.Now().Add(patience))
	var head [2]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return f, err
	}
	f.opcode, f.rsv, f.more = head[0]&15, head[0]>>4&7, head[0]&0x80 == 0
	length := uint64(head[1])
	var extended [8]byte
	switch length {
	case 126:
		_, err = io.ReadFull(p.r, extended[6:])
		length = binary.BigEndian.Uint64(extended[:])
	case 127:
		_, err = io.ReadFull(p.r, extended[:])
		length = binary.BigEndian.Uint64(extended[:])
	}
	if err != nil {
		return f, err
	}
	if length > 1<<30 {
		return f, errMasked
	}
	data := make([]byte, length)
	_, err = io.ReadFull(p.r, data)
	f.data = string(data)
	return f, err
}

func (p *peer) wantText(t testing.TB, want string) {
	t.Helper()
	if f := p.read(t); f.opcode != opText || f.data != want {
		t.Fatalf("frame is %d %s, want text %s", f.opcode, shorten(f.data), shorten(want))
	}
}

// wantClosed reads until the connection ends and returns the code of the close
// frame: 0 if it has none, -1 if there was no close frame.
func (p *peer) wantClosed(t testing.TB) int {
	t.Helper()
	code := -1
	for {
		f, err := p.next()
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			t.Fatal("the connection stays open")
		case err != nil:
			return code
		case f.opcode == opClose && len(f.data) >= 2:
			code = int(binary.BigEndian.Uint16([]byte(f.data)))
		case f.opcode == opClose:
			code = 0
		}
	}
}

func dialTLS(t testing.TB, server *httptest.Server) net.Conn {
	t.Helper()
	config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	conn, err := tls.Dial("tcp", server.Listener.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
