package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// maxAnswerHeader bounds the header of an answer, in bytes.
const maxAnswerHeader = 64 << 10

// newTransport makes a transport for the operator's targets: it shows the operator's certificate and goes through
// the proxy of the environment.
func newTransport(c Config) (*http.Transport, error) {
	secure, err := c.TLS.config()
	if err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            c.dialer().DialContext,
		TLSClientConfig:        secure,
		TLSHandshakeTimeout:    c.ConnectTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // answers are hardly read; nothing shall unfold
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    c.IdlePerHost,
		IdleConnTimeout:        c.IdleTimeout,
		MaxResponseHeaderBytes: maxAnswerHeader,
	}, nil
}

func (c *Config) dialer() *net.Dialer {
	return &net.Dialer{Timeout: c.ConnectTimeout, Resolver: c.resolver}
}

// forTenants returns a copy of a transport for the targets that instances choose: it shows no certificate, because
// that says who the operator is, and it is guarded if configured so. Behind the guard it uses no proxy: the proxy's
// address would be all that is dialled here.
func forTenants(operators *http.Transport, c Config) *http.Transport {
	t := operators.Clone()
	t.TLSClientConfig.Certificates = nil
	if c.guarded() {
		t.DialContext = c.Guard.dial(c.dialer())
		t.Proxy = nil
	}
	return t
}

// A pool hands out a transport, and a new one when the last is age old, so that a receiver whose name has moved in
// DNS is followed under steady traffic too, which never lets a connection become idle for long. Connections of the
// old transport are closed as their requests end; no request is cut. Any number of goroutines may use it at once.
type pool struct {
	template *http.Transport // copied, never used
	age      time.Duration
	now      func() time.Time

	mu sync.Mutex
	// mu guards the fields below.
	current *generation
}

// A generation is the transport of one age of a pool.
type generation struct {
	transport *http.Transport
	born      time.Time
	uses      int
	replaced  bool
}

// take returns the transport to use, and what must be called when the request and its answer are done with.
func (p *pool) take() (t *http.Transport, done func()) {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil || now.Sub(p.current.born) >= p.age {
		p.replace()
		p.current = &generation{transport: p.template.Clone(), born: now}
	}
	g := p.current
	g.uses++
	return g.transport, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		g.uses--
		if g.replaced && g.uses == 0 {
			g.transport.CloseIdleConnections()
		}
	}
}

// close closes the connections that are idle. A pool can be used again after it.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replace()
}

// replace ends the current generation. Its idle connections end now, the others with their last use: one that is
// dialled for a request that has given up ends too, because a transport that was told to close keeps none until it is
// used again.
func (p *pool) replace() {
	if p.current == nil {
		return
	}
	p.current.replaced = true
	p.current.transport.CloseIdleConnections()
	p.current = nil
}

func (t TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: t.Insecure}
	if t.MinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	if t.CAFile != "" {
		pool, err := authorities(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		c.RootCAs = pool
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file and tls.key_file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// authorities are the system's and those of a file.
func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New(file + " holds no certificate in PEM form")
	}
	return pool, nil
}

// dial returns a dialer that refuses what the guard refuses. It looks at every address that is about to be dialled,
// after name look-up: a name that meant something else when it was looked at before does not get by.
func (g Guard) dial(plain *net.Dialer) func(ctx context.Context, network, address string) (net.Conn, error) {
	guarded := *plain
	guarded.ControlContext = g.control
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if g.allowsHost(address) {
			return plain.DialContext(ctx, network, address)
		}
		return guarded.DialContext(ctx, network, address)
	}
}
