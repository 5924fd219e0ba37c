package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"
)

// A Server is the running evosink that commands talk to, as far as the configuration knows it.
type Server struct {
	URL string // "http://127.0.0.1:8080"; --url names another
	Key string // the global key, "" if the configuration has none; --key gives another
	// Certificate is a PEM file that begins with the certificate which the server at URL shows. "" if it speaks http.
	Certificate string
	// CA is a PEM file of authorities to trust beside the system's, for any server. --ca names one.
	CA string
	// URLFrom and KeyFrom say where these come from.
	URLFrom, KeyFrom Origin
}

// An Origin is where a value of the configuration comes from.
type Origin struct {
	Text    string // ".env", "environment AUTHENTICATION_API_KEY"
	Found   bool   // a file of the working directory says so, and not the user
	Outside bool   // such a file names another one outside of the directory, which holds the value
}

// A client asks one server.
type client struct {
	base string // without a slash at its end
	key  string
	http *http.Client
}

// newClient checks the address, and that the key may go there. close ends the client's connections.
func newClient(s Server) (*client, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, Usagef(`--url must be an address like "http://127.0.0.1:8080", not %q`, s.URL)
	}
	if s.Key == "" {
		return nil, errors.New("no key: give the global key as AUTHENTICATION_API_KEY (or --key, which others on this machine can see)")
	}
	if s.URLFrom.Found && (!s.KeyFrom.Found || s.KeyFrom.Outside) && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("the address %s comes from this directory (%s), but the key does not (%s), so it is not sent there. If that is your server: --url %s",
			s.URL, s.URLFrom.Text, s.KeyFrom.Text, s.URL)
	}
	trust, err := s.trust()
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	return &client{
		base: strings.TrimSuffix(s.URL, "/"), key: s.Key,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, TLSClientConfig: trust,
			},
			// A redirect would take the key elsewhere, and may turn a DELETE into a GET.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// isLoopback reports whether a host is this machine by its name or address.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// trust says which certificates are taken: those of the system's authorities and of CA; or of the server of this
// configuration the very one that it was given, whatever name is in it, because its address here is this machine's and
// the certificate names the public one.
func (s Server) trust() (*tls.Config, error) {
	file := cmp.Or(s.CA, s.Certificate)
	if file == "" || !strings.HasPrefix(s.URL, "https://") {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	if s.CA != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool() // there is none on some systems
		}
		if !pool.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("--ca: no certificate is in %s", file)
		}
		return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
	}
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("server.certificate: %s does not begin with a certificate in PEM", file)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // of names and authorities: the certificate itself is compared instead
		VerifyConnection: func(c tls.ConnectionState) error {
			if len(c.PeerCertificates) == 0 || !bytes.Equal(c.PeerCertificates[0].Raw, block.Bytes) {
				return fmt.Errorf("it shows another certificate than %s holds (was the file replaced since the server has started?)", file)
			}
			return nil
		},
	}, nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// maxAnswer bounds an answer that is read as a whole, in bytes.
const maxAnswer = 64 << 20

// ask sends a request and returns its answer's body. It waits for as long as ctx lasts: a purge takes its time.
func (c *client) ask(ctx context.Context, method, path string, query url.Values, body any) (json.RawMessage, error) {
	answer, err := c.open(ctx, method, path, query, body)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	if !json.Valid(raw) {
		return nil, c.stranger("what it answers is not JSON")
	}
	return raw, nil
}

// open sends a request and returns its answer, which is a success; the caller closes its body.
func (c *client) open(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	address := c.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer func() { _ = answer.Body.Close() }() // the error says more
	return nil, c.refusal(answer)
}

// unreachable tells of a server that does not answer.
func (c *client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the address, which is said here
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return fmt.Errorf("%s shows a certificate that is not trusted here: %w; --ca names a PEM file with the authority that issued it", c.base, untrusted.Err)
	}
	return fmt.Errorf("no evosink answers at %s: %w; is it running? --url names another address", c.base, err)
}

// refusal tells what the server has against a request.
func (c *client) refusal(answer *http.Response) error {
	raw, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<20)) // what is there says enough
	var e struct {
		Response struct{ Message json.RawMessage }
	}
	switch {
	case answer.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s does not take the key: it must be the global key (AUTHENTICATION_API_KEY, or --key)", c.base)
	case answer.StatusCode >= 300 && answer.StatusCode < 400:
		return fmt.Errorf("%s answers with a redirect to %s; give the address itself with --url", c.base, clean(answer.Header.Get("Location"), 200))
	case json.Unmarshal(raw, &e) != nil || e.Response.Message == nil:
		return c.stranger(fmt.Sprintf("it answers %s", clean(answer.Status, 80)))
	}
	return errors.New(clean(strings.Join(texts(e.Response.Message), "; "), 1000))
}

func (c *client) stranger(why string) error {
	return fmt.Errorf("%s is no evosink: %s; --url names another address", c.base, why)
}

// texts reads a text, or lists of texts however deep.
func texts(raw json.RawMessage) []string {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return []string{string(raw)}
	}
	var out []string
	for _, entry := range list {
		out = append(out, texts(entry)...)
	}
	return out
}
