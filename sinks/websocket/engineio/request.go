package engineio

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/evosink/evosink/sinks/websocket/engineio/packet"
)

// requestParams is what a request turns out to want.
type requestParams struct {
	transport Transport
	dialect   packet.Dialect
	session   *Session // nil for a handshake
}

// query is what a request's query says.
type query struct{ revision, transport, sid, b64 string }

// parseQuery reads a query as the reference server does: the last of a repeated
// parameter counts, what cannot be unescaped stays as it is, and other parameters
// count for nothing.
func parseQuery(raw string) (q query) {
	for pair := range strings.SplitSeq(raw, "&") {
		key, value, _ := strings.Cut(pair, "=")
		value = unescape(value)
		switch unescape(key) {
		case "EIO":
			q.revision = value
		case "transport":
			q.transport = value
		case "sid":
			q.sid = value
		case "b64":
			q.b64 = value
		}
	}
	return q
}

func unescape(s string) string {
	if unescaped, err := url.QueryUnescape(s); err == nil {
		return unescaped
	}
	return s
}

// verify goes by a request's query in the order of the reference server, so that
// a request with several faults is refused for the same one.
func (s *Server) verify(r *http.Request) (requestParams, *refusal) {
	q := parseQuery(r.URL.RawQuery)
	params := requestParams{dialect: packet.Dialect{Revision: packet.V3, Base64: q.b64 != ""}}
	if q.revision == "4" {
		params.dialect.Revision = packet.V4
	}
	var known bool
	if params.transport, known = s.transport(q.transport); !known {
		return params, unknownTransport
	}
	if id := q.sid; id != "" {
		if params.session = s.session(id); params.session == nil {
			return params, unknownSession
		}
		return params, s.verifySession(r, params)
	}
	return params, s.verifyHandshake(r, params)
}

func (s *Server) transport(name string) (Transport, bool) {
	for _, t := range s.config.Transports {
		if t.String() == name {
			return t, true
		}
	}
	return 0, false
}

func (s *Server) verifySession(r *http.Request, params requestParams) *refusal {
	upgrade := wantsWebSocket(r)
	switch {
	case upgrade != (params.transport == WebSocket),
		upgrade && !s.config.AllowUpgrades,
		!upgrade && params.transport != params.session.Transport(),
		params.dialect.Revision != params.session.dialect.Revision:
		return badRequest
	}
	return nil
}

func (s *Server) verifyHandshake(r *http.Request, params requestParams) *refusal {
	switch {
	case s.isClosed():
		return shuttingDown
	case r.Method != http.MethodGet:
		return badHandshakeMethod
	case wantsWebSocket(r) != (params.transport == WebSocket):
		return badRequest
	}
	if s.config.AllowRequest != nil {
		if err := s.config.AllowRequest(r); err != nil {
			return forbidden(err)
		}
	}
	if params.dialect.Revision == packet.V3 && !s.config.AllowEIO3 {
		return unsupportedVersion
	}
	return nil
}
