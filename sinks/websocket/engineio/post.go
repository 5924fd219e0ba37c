package engineio

import (
	"bytes"
	"context"
	"errors"
	"mime"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/evosink/evosink/core/retry"
	"github.com/evosink/evosink/sinks/websocket/engineio/packet"
)

var errContentType = errors.New("engineio: binary payload in revision 4")

// post takes a payload from the client and answers once the handler has had
// its messages (Engine.IO v4, "HTTP long-polling").
func (s *Session) post(w http.ResponseWriter, r *http.Request) {
	contentType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	binary := contentType == "application/octet-stream"
	if s.probing() {
		retry.Sleep(r.Context().Done(), requestOvertaking)
	}
	p, refused := s.beginPost(w, binary)
	if refused == nil && p != nil {
		refused = s.receiveBody(w, r, p, binary)
		s.endPost(p) // before the answer, which the client may answer with the next
	}
	if refused != nil {
		s.server.refuse(w, r, refused)
		return
	}
	// Not text/plain, which old browsers offer to download.
	w.Header().Set("Content-Type", "text/html")
	_ = answer(w, http.StatusOK, []byte("ok")) // the client will miss it
}

// receiveBody reads a POST and takes its packets.
func (s *Session) receiveBody(w http.ResponseWriter, r *http.Request, p *polling, binary bool) *refusal {
	body, err := s.readBody(r)
	s.bodyRead(p)
	switch {
	case errors.Is(err, errTooLarge):
		return tooLarge
	case errors.Is(err, errCrowded):
		return crowded
	case err != nil:
		s.fail(ReasonTransportError, errors.Join(errAborted, err))
		w.Header().Set("Connection", "close")
		return badRequest
	case !s.receivePayload(r.Context(), body, binary):
		return badRequest
	}
	return nil
}

// beginPost makes a POST the only one. Reading its body can be cut from now on.
// It returns nothing if the session takes no more packets, but the client has
// yet to fetch the end.
func (s *Session) beginPost(w http.ResponseWriter, binary bool) (*polling, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.polling
	switch {
	case s.state == closed:
		return nil, unknownSession
	case s.state == leaving:
		return nil, nil
	case p == nil:
		return nil, badRequest
	case binary && s.dialect.Revision != packet.V3:
		s.end(ReasonTransportError, errContentType)
		return nil, badRequest
	case p.post:
		s.end(ReasonTransportError, errOverlap)
		return nil, badRequest
	}
	p.post = true
	p.unread = func() { _ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) }
	return p, nil
}

// bodyRead leaves the connection, which may be used again, alone.
func (s *Session) bodyRead(p *polling) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.unread = nil
}

func (s *Session) endPost(p *polling) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.post = false
}

// fail is end for callers without the lock.
func (s *Session) fail(reason Reason, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(reason, err)
}

// readBody reads a body of up to the session's limit, whatever length it
// announces.
func (s *Session) readBody(r *http.Request) ([]byte, error) {
	var body bytes.Buffer
	if r.ContentLength > s.limit.Load() {
		return nil, errTooLarge
	}
	err := s.readInto(&body, r.Body)
	return body.Bytes(), err
}

// farewellTo lets a session that its client has closed vanish once the poll that
// the close packet answers has come, or could have.
func (s *Session) farewellTo(ctx context.Context) {
	if s.left() {
		return
	}
	retry.Sleep(ctx.Done(), closeOvertaking)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == leaving {
		s.vanish()
	}
}

// left reports whether nothing is left to be fetched.
func (s *Session) left() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == closed
}

// receivePayload takes the packets of a payload up to its close packet, or until
// the session has ended. It returns false if that is because the payload is none;
// what else was wrong is told by the session's end, as the reference server does.
func (s *Session) receivePayload(ctx context.Context, body []byte, binary bool) bool {
	if !binary && !utf8.Valid(body) { // looked at first, for that is fast
		body = bytes.ToValidUTF8(body, []byte("\uFFFD"))
	}
	for p, err := range s.dialect.Revision.Packets(body, binary) {
		if err != nil {
			s.fail(ReasonParseError, err)
			return false
		}
		s.receive(p)
		if p.Type == packet.Close {
			s.farewellTo(ctx)
		}
		if !s.isOpen() {
			return true
		}
	}
	return true
}
