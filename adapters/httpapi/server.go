package httpapi

import (
	"log"
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

// errorLog takes the lines that net/http writes about connections and panics.
type errorLog struct{ zerolog.Logger }

func (l errorLog) Write(line []byte) (int, error) {
	l.Warn().Msg(strings.TrimSpace(string(line)))
	return len(line), nil
}
