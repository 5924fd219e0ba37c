package rabbitmq_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/rabbitmq"
)

// certificate makes a self-signed one for broker.example and returns it with the path of its PEM file.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"broker.example"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// terminate speaks TLS to clients and the plain protocol to the broker.
func terminate(t *testing.T, cert tls.Certificate, target string) (address string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				in.Close()
				continue
			}
			wg.Go(func() { io.Copy(in, out); in.Close() })
			wg.Go(func() { io.Copy(out, in); out.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

func TestEventsTravelOverTLS(t *testing.T) {
	b := newBroker(t)
	b.owns(b.name, b.name+".call")
	cert, ca := certificate(t)
	u, err := url.Parse(b.uri)
	if err != nil {
		t.Fatal(err)
	}
	u.Scheme, u.Host = "amqps", terminate(t, cert, u.Host)
	c := b.config()
	c.URI = u.String()

	for name, tls := range map[string]rabbitmq.TLS{
		"by an authority of ours": {CAFile: ca, ServerName: "broker.example"},
		"unchecked":               {Insecure: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.TLS = tls
			deliver(t, start(t, c), delivery(sink.Global, "sales", "call"))
		})
	}
	t.Run("by a certificate nobody vouches for, it does not", func(t *testing.T) {
		if err := start(t, c).Deliver(t.Context(), delivery(sink.Global, "sales", "call")); !sink.IsUnavailable(err) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("Deliver: %v", err)
		}
	})
}
