package webhook_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/webhook"
)

func TestTLSOptions(t *testing.T) {
	r := unstarted(nil)
	r.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
	r.Config.ErrorLog = quiet
	r.StartTLS()
	t.Cleanup(r.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		configure func(*webhook.Config)
		want      string
	}{
		"the system's authorities": {func(*webhook.Config) {}, "unavailable"},
		"its authority":            {func(c *webhook.Config) { c.TLS.CAFile = ca }, "done"},
		"no verification":          {func(c *webhook.Config) { c.TLS.Insecure = true }, "done"},
		"a higher version":         {func(c *webhook.Config) { c.TLS.CAFile, c.TLS.MinVersion = ca, "1.3" }, "unavailable"},
	} {
		if err := open(t, c.configure).Deliver(t.Context(), delivery("instance", settingsFor(r.URL, ""))); outcome(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestCloseEndsAHandshakeThatGoesOn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := l.Accept()
		accepted <- conn
	}()
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- s.Deliver(ctx, delivery("instance", settingsFor("https://"+l.Addr().String(), ""))) }()
	conn := <-accepted
	defer conn.Close()
	cancel()
	<-result // the connection is of no use any more, but the transport goes on
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection outlives the sink")
	}
}

func TestHTTP2ReceiversAreSpokenToInHTTP2(t *testing.T) {
	r := unstarted(nil)
	r.EnableHTTP2 = true
	r.StartTLS()
	t.Cleanup(r.Close)
	s := open(t, func(c *webhook.Config) { c.TLS.Insecure = true })
	if err := s.Deliver(t.Context(), delivery("instance", settingsFor(r.URL, ""))); err != nil {
		t.Fatal(err)
	}
	if got := r.requests()[0].Proto; got != "HTTP/2.0" {
		t.Errorf("spoke %s", got)
	}
}

// The certificate says who the operator is: a receiver that an instance names could use it, or learn it.
func TestTheCertificateIsForTheOperatorsTargetsOnly(t *testing.T) {
	r := unstarted(nil)
	r.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	r.StartTLS()
	t.Cleanup(r.Close)
	cert, key := writePair(t, r.Server)
	s := open(t, func(c *webhook.Config) {
		c.TLS.Insecure, c.TLS.CertFile, c.TLS.KeyFile = true, cert, key
		c.GlobalEnabled, c.URL, c.Events = true, r.URL, sink.Switches{"ALL": true}
		c.Errors, c.ErrorsURL = true, r.URL
	})
	settings := settingsFor(r.URL, `,"webhooks":[{"name":"a","url":"`+r.URL+`","enabled":true}]`)
	for target, want := range map[sink.Target]int{"global": 1, "errors": 1, "instance": 0, "list/a": 0} {
		r.forget()
		if err := s.Deliver(t.Context(), delivery(target, settings)); err != nil {
			t.Fatal(err)
		}
		if got := len(r.requests()[0].TLS.PeerCertificates); got != want {
			t.Errorf("%s: %d certificates came, want %d", target, got, want)
		}
	}
}

func marshalKey(key any) ([]byte, error) { return x509.MarshalPKCS8PrivateKey(key) }

// writePair writes a test server's own pair to files.
func writePair(t *testing.T, s *httptest.Server) (cert, key string) {
	t.Helper()
	pair := s.TLS.Certificates[0]
	der, err := marshalKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
