package engineio

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// A refusal is an answer of the protocol's error table (Engine.IO v4: code and message).
type refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	status  int
}

var (
	unknownTransport   = &refusal{Code: 0, Message: "Transport unknown", status: http.StatusBadRequest}
	unknownSession     = &refusal{Code: 1, Message: "Session ID unknown", status: http.StatusBadRequest}
	badHandshakeMethod = &refusal{Code: 2, Message: "Bad handshake method", status: http.StatusBadRequest}
	badRequest         = &refusal{Code: 3, Message: "Bad request", status: http.StatusBadRequest}
	unsupportedVersion = &refusal{Code: 5, Message: "Unsupported protocol version", status: http.StatusBadRequest}

	// These stand outside the table: the reference answers 413 without a body,
	// does not answer at all once it is closed, and counts no large messages.
	tooLarge     = &refusal{status: http.StatusRequestEntityTooLarge}
	crowded      = &refusal{Code: 4, Message: "too many large messages at once; try again", status: http.StatusServiceUnavailable}
	shuttingDown = &refusal{Code: 4, Message: "server is shutting down", status: http.StatusServiceUnavailable}
)

// forbidden is the refusal of AllowRequest.
func forbidden(err error) *refusal {
	return &refusal{Code: 4, Message: err.Error(), status: http.StatusForbidden}
}

// refuse answers with a refusal: to plain requests as JSON, to websocket
// handshakes with the bare message and, whatever the table says, status 400.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, refused *refusal) {
	header := w.Header()
	switch {
	case refused == tooLarge:
		refuseBody(w, r, refused.status, nil)
	case wantsWebSocket(r):
		s.config.CORS.allow(header, r)
		header.Set("Content-Type", "text/html")
		header.Set("Connection", "close")
		status := http.StatusBadRequest
		if refused == shuttingDown { // which is not in the table
			status = refused.status
		}
		_ = answer(w, status, []byte(refused.Message))
	default:
		header.Set("Content-Type", "application/json")
		refuseBody(w, r, refused.status, refused.body())
	}
}

func (refused *refusal) body() []byte {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(refused) // two plain fields cannot fail
	return bytes.TrimSuffix(body.Bytes(), []byte("\n"))
}

// answerTime bounds how long a client may take to read an answer. net/http
// lifts the deadline before the connection's next request.
const answerTime = 30 * time.Second

// answer writes a whole response at once, and reports whether it could.
func answer(w http.ResponseWriter, status int, body []byte) error {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(answerTime)) // where it is supported
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		return err
	}
	return control.Flush()
}

// How much of a refused body is read, and for how long, so that the client
// sees the answer instead of a reset and can go on using the connection.
const (
	discardBytes = 16 << 20
	discardTime  = 5 * time.Second
)

// takeBody reads the body of a request that should have none: the end of a
// connection is not noticed before that of the body. It returns false, and the
// connection is cut, if the client does not send it.
func takeBody(w http.ResponseWriter, r *http.Request) bool {
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(discardTime)) // where it is supported
	if _, err := io.CopyN(io.Discard, r.Body, discardBytes); !errors.Is(err, io.EOF) {
		hangUp(control)
		return false
	}
	_ = control.SetReadDeadline(time.Time{})
	return true
}

// refuseBody answers before the request's body has been read.
func refuseBody(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	kept := w.Header().Get("Connection") != "close"
	if r.ContentLength == 0 || r.ProtoMajor != 1 || r.Header.Get("Expect") != "" || !kept {
		_ = answer(w, status, body)
		return
	}
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex() // which HTTP/1 has
	if answer(w, status, body) == nil {
		_ = control.SetReadDeadline(time.Now().Add(discardTime))
		if _, err := io.CopyN(io.Discard, r.Body, discardBytes); !errors.Is(err, io.EOF) {
			hangUp(control)
		}
	}
}

// hangUp cuts a connection whose request is not read to its end: net/http
// would go on reading it after a full-duplex answer, without a deadline.
func hangUp(control *http.ResponseController) {
	if conn, _, err := control.Hijack(); err == nil {
		conn.Close()
	}
}
