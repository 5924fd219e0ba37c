package httpapi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/rs/zerolog"
)

// NewServer returns a server for h with the time limits of s. It has no limit for whole requests or answers: long
// polling and websockets live under the same roof; what reads a body limits that itself.
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

// A Certificate is the listener's, of https. Any number of goroutines may use it at once.
type Certificate struct {
	current atomic.Pointer[tls.Certificate]
}

// Load reads the files that s names, again if they were read before. After an error the certificate is what it was. For
// http it does nothing.
func (c *Certificate) Load(s Server) error {
	if !s.TLS() {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(s.Certificate, s.PrivateKey)
	if err != nil {
		return fmt.Errorf("server.certificate, server.private_key: %w", err)
	}
	c.current.Store(&pair)
	return nil
}

// config presents the certificate of the moment to each new connection.
func (c *Certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// Serve answers what comes in through l, over TLS if s says so, until the server is shut down; then it returns nil. It
// bounds the connections by the limits of s, and by what the limit of open files leaves to them; for that it takes the
// server's ConnState and ConnContext. Without a TLSConfig in server it reads the certificate's files itself.
func Serve(server *http.Server, l net.Listener, s Server) error {
	l = newConnections(s, openFiles(), server.ErrorLog).serve(server, l)
	var err error
	if s.TLS() {
		if server.TLSConfig == nil {
			c := &Certificate{}
			if err := c.Load(s); err != nil {
				return err
			}
			server.TLSConfig = c.config()
		}
		err = server.ServeTLS(l, "", "")
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
