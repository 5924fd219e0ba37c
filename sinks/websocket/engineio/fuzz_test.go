package engineio_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// FuzzQuery asks for whatever a peer may ask for: nothing may panic, and
// nothing but a proper handshake opens a session.
func FuzzQuery(f *testing.F) {
	f.Add("GET", pollingQuery, "http://a.example")
	f.Add("POST", "EIO=3&transport=__proto__&sid=%zz", "")
	f.Add("OPTIONS", "transport=polling&transport=websocket&EIO=4;b64", "\x00")
	f.Fuzz(func(t *testing.T, method, query, origin string) {
		s := newSite(t, func(c *engineio.Config) { c.CORS = &engineio.CORS{Origins: []string{"http://a.example"}} })
		w := httptest.NewRecorder()
		r := &http.Request{Method: method, URL: &url.URL{Path: "/", RawQuery: query}, Header: http.Header{"Origin": {origin}}, Body: http.NoBody, ProtoMajor: 1}
		s.ServeHTTP(w, r)
		if opened := strings.HasPrefix(w.Body.String(), "0{"); opened != (s.Sessions() == 1) || opened != (w.Code == http.StatusOK) {
			t.Errorf("%d sessions, status %d, body %s", s.Sessions(), w.Code, w.Body)
		}
		s.Close(t.Context())
	})
}

// FuzzPost sends any body to a session of either revision: it is taken, or the
// session ends.
func FuzzPost(f *testing.F) {
	f.Add([]byte("4hello\x1ebAQID\x1e3"), false, false)
	f.Add([]byte("3:4😀1:2"), true, false)
	f.Add([]byte("\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04"), true, true)
	f.Fuzz(func(t *testing.T, body []byte, third, binary bool) {
		s := newSite(t, eio3)
		query := pollingQuery
		if third {
			query = polling3
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?"+query, nil))
		app := s.session(t)
		r := httptest.NewRequest(http.MethodPost, "/?"+query+"&sid="+app.ID(), bytes.NewReader(body))
		if binary {
			r.Header.Set("Content-Type", "application/octet-stream")
		}
		w = httptest.NewRecorder()
		s.ServeHTTP(w, r)
		closed := app.Send(text("x")) != nil
		if w.Code == http.StatusBadRequest && !closed {
			t.Errorf("refused with %s, yet open", w.Body)
		}
		s.Close(t.Context())
	})
}

// FuzzWebSocket sends any bytes behind the handshake. The session must end
// with them, whatever they are.
func FuzzWebSocket(f *testing.F) {
	f.Add(frame{opcode: opText, data: "4hello"}.bytes(), false)
	f.Add(frame{opcode: opText, data: deflated("4hello"), rsv: 4}.bytes(), true)
	f.Add(append(frame{opcode: opText, data: "4", more: true}.bytes(), frame{opcode: opPing}.bytes()...), false)
	f.Add(frame{opcode: opBinary, length: 1 << 63}.bytes(), false)
	f.Fuzz(func(t *testing.T, data []byte, deflate bool) {
		s := newSite(t, deflating)
		client, server := net.Pipe()
		r := httptest.NewRequest(http.MethodGet, "/?EIO=4&transport=websocket", nil)
		for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket",
			"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
			r.Header.Set(name, value)
		}
		if deflate {
			r.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate")
		}
		go io.Copy(io.Discard, client)
		s.ServeHTTP(&piped{httptest.NewRecorder(), server}, r)
		app := s.session(t)
		client.SetWriteDeadline(time.Now().Add(patience))
		client.Write(data) // which the server may cut short
		client.Close()
		receive(t, app.closed, "the end")
		s.Close(t.Context())
	})
}

// piped is a response that can be hijacked.
type piped struct {
	http.ResponseWriter
	conn net.Conn
}

func (p *piped) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return p.conn, bufio.NewReadWriter(bufio.NewReader(p.conn), bufio.NewWriter(p.conn)), nil
}
