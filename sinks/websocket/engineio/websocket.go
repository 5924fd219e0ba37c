package engineio

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/gorilla/websocket"
)

// wantsWebSocket reports whether r is a websocket handshake.
func wantsWebSocket(r *http.Request) bool { return websocket.IsWebSocketUpgrade(r) }

// newUpgrader returns the upgrader of a server. Other origins are the business
// of AllowRequest, as they are in the reference server. Its write buffers, of
// which this package uses none, are not kept per connection.
func newUpgrader(s *Server) *websocket.Upgrader {
	return &websocket.Upgrader{
		WriteBufferPool:   &sync.Pool{},
		EnableCompression: s.config.PerMessageDeflate > 0,
		CheckOrigin:       func(*http.Request) bool { return true },
		Error: func(w http.ResponseWriter, r *http.Request, _ int, _ error) {
			if hijack, ok := w.(*hijacker); !ok || hijack.conn == nil {
				s.refuse(w, r, badRequest)
			}
		},
	}
}

// handshake makes a websocket of the request, for session. An error has been
// answered.
func (s *Server) handshake(w http.ResponseWriter, r *http.Request, session *Session) (*conn, error) {
	if !r.ProtoAtLeast(1, 1) || r.Header.Get("Sec-WebSocket-Version") != "13" { // gorilla is content with less
		s.refuse(w, r, badRequest)
		return nil, errHandshake
	}
	offer, deflate := deflateOffer(r)
	if !deflate {
		r.Header.Del("Sec-WebSocket-Extensions")
	}
	hijack := &hijacker{ResponseWriter: w, session: session}
	header := http.Header{}
	s.config.CORS.allow(header, r)
	if protocol := subprotocol(r); protocol != "" {
		header.Set("Sec-WebSocket-Protocol", protocol)
	}
	ws, err := s.upgrader.Upgrade(hijack, r, header)
	if err != nil {
		return nil, err
	}
	c := hijack.conn
	c.ws = ws
	wire := int64(s.config.MaxPayload)
	if s.upgrader.EnableCompression && deflate {
		c.answer = withWindow(c.answer, offer)
		wire += wire/1000 + 64 // what cannot be compressed grows a little
		c.encoding.deflate = s.config.PerMessageDeflate
		c.source = &guard{Reader: c.source}
	}
	c.in.Reset(c.source) // gorilla has reset it, and read nothing
	ws.SetReadLimit(wire)
	return c, nil
}

// subprotocol returns the first that the client offers, "" if there is none or it
// is no token (RFC 7230, section 3.2.6). A client that offers some hangs up if it
// gets none.
func subprotocol(r *http.Request) string {
	offered := websocket.Subprotocols(r)
	if len(offered) == 0 || strings.ContainsAny(offered[0], " \t\"(),/:;<=>?@[\\]{}") {
		return ""
	}
	return offered[0]
}

var errHandshake = errors.New("engineio: not a websocket handshake")

// deflateOffer returns the parameters of the client's first offer of
// permessage-deflate that we can keep. gorilla accepts every offer, even one that
// it does not understand, or that asks for a smaller window than it and we
// compress with (RFC 7692, section 7.1).
func deflateOffer(r *http.Request) (params []string, found bool) {
	for offer := range strings.SplitSeq(strings.Join(r.Header["Sec-Websocket-Extensions"], ","), ",") {
		params := strings.Split(offer, ";")
		if strings.TrimSpace(params[0]) == "permessage-deflate" && keepable(params[1:]) {
			return params[1:], true
		}
	}
	return nil, false
}

// withWindow completes gorilla's answer to an offer: one that names
// server_max_window_bits is only accepted by naming it again (RFC 7692, section
// 7.1.2.1).
func withWindow(answer []byte, params []string) []byte {
	named := func(param string) bool {
		return strings.HasPrefix(strings.TrimSpace(param), "server_max_window_bits")
	}
	if !slices.ContainsFunc(params, named) {
		return answer
	}
	const end = "; client_no_context_takeover" // gorilla's last parameter
	return bytes.Replace(answer, []byte(end), []byte(end+"; server_max_window_bits=15"), 1)
}

// keepable reports whether we can keep every parameter of an offer. None may be
// there twice.
func keepable(params []string) bool {
	seen := map[string]bool{}
	for _, param := range params {
		name, value, valued := strings.Cut(strings.TrimSpace(param), "=")
		value = strings.Trim(value, `"`)
		ok := false
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			ok = !valued
		case "client_max_window_bits": // it may compress with less, but need not
			bits, err := strconv.Atoi(value)
			ok = !valued || err == nil && bits >= 8 && bits <= 15
		case "server_max_window_bits":
			ok = value == "15"
		}
		if !ok || seen[name] {
			return false
		}
		seen[name] = true
	}
	return true
}

// A hijacker gives gorilla a conn in place of the connection, so that all that
// gorilla writes keeps its place between our frames, and a small read buffer
// of which we can tell whether it is empty.
type hijacker struct {
	http.ResponseWriter
	session *Session
	conn    *conn
}

// Unwrap serves http.ResponseController.
func (h *hijacker) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	netConn, buffered, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered()) // never fails
	h.conn = newConn(netConn, h.session, bytes.Clone(early))
	return h.conn, bufio.NewReadWriter(&h.conn.in, buffered.Writer), nil
}

// newConn makes a conn. What the client has sent before the answer is early; the
// first read takes all of it.
func newConn(netConn net.Conn, s *Session, early []byte) *conn {
	c := &conn{Conn: netConn, source: netConn, server: s.server, session: s, encoding: encoding{dialect: s.dialect}}
	if len(early) > 0 {
		c.early = true
		c.source = io.MultiReader(bytes.NewReader(early), netConn)
	}
	c.in = *bufio.NewReaderSize(c.source, max(readBuffer, len(early)))
	if direct, ok := netConn.(syscall.Conn); ok {
		if raw, err := direct.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	return c
}
