package rabbitmq_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/rabbitmq"
)

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
	cert := sinktest.NewCertificate(t, "broker.example")
	u, err := url.Parse(b.uri)
	if err != nil {
		t.Fatal(err)
	}
	u.Scheme, u.Host = "amqps", terminate(t, cert.Certificate, u.Host)
	c := b.config()
	c.URI = u.String()

	for name, tls := range map[string]rabbitmq.TLS{
		"by an authority of ours": {CAFile: cert.CertFile, ServerName: "broker.example"},
		"unchecked":               {Insecure: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.TLS = tls
			sinktest.Deliver(t, start(t, c), sinktest.NewDelivery(sink.Global, "sales", "call"))
		})
	}
	t.Run("by a certificate nobody vouches for, it does not", func(t *testing.T) {
		if err := start(t, c).Deliver(t.Context(), sinktest.NewDelivery(sink.Global, "sales", "call")); !sink.IsUnavailable(err) || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("Deliver: %v", err)
		}
	})
}
