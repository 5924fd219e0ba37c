package httpapi

import (
	"errors"
	"log"
	"net"
	"net/http"
	"strings"

	"github.com/rs/zerolog"
)

// NewServer returns a server for h with the time limits of s. It has no limit for whole requests or answers: long polling and
// websockets live under the same roof; what reads a body limits that itself.
func NewServer(s Server, h http.Handler, logger zerolog.Logger) *http.Server {
	return &http.Server{
		Addr:              s.Address(),
		Handler:           h,
		ReadHeaderTimeout: s.HeaderTimeout,
		IdleTimeout:       s.IdleTimeout,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(errorLog{logger}, "", 0),
	}
}

// Serve answers what comes in through l, over TLS if s says so, until the server is shut down; then it returns nil. It
// bounds the connections by the limits of s, and by what the limit of open files leaves to them; for that it takes the
// server's ConnState and ConnContext.
func Serve(server *http.Server, l net.Listener, s Server) error {
	l = newConnections(s, openFiles(), server.ErrorLog).serve(server, l)
	var err error
	if s.TLS() {
		err = server.ServeTLS(l, s.Certificate, s.PrivateKey)
	} else {
		err = server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// errorLog takes the lines that net/http writes about connections and panics.
type errorLog struct{ zerolog.Logger }

func (l errorLog) Write(line []byte) (int, error) {
	l.Warn().Msg(strings.TrimSpace(string(line)))
	return len(line), nil
}
