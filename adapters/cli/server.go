package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A Server is the running evosink that commands talk to, as far as the configuration knows it.
type Server struct {
	URL string // "http://127.0.0.1:8080"; --url names another
	Key string // the global key, "" if the configuration has none; --key gives another
}

// A client asks one server.
type client struct {
	base string // without a slash at its end
	key  string
	http *http.Client
}

// newClient checks the address. close ends the client's connections.
func newClient(s Server) (*client, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, Usagef(`--url must be an address like "http://127.0.0.1:8080", not %q`, s.URL)
	}
	if s.Key == "" {
		return nil, errors.New("no key: give the global key as AUTHENTICATION_API_KEY (or --key, which others on this machine can see)")
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	return &client{
		base: strings.TrimSuffix(s.URL, "/"), key: s.Key,
		http: &http.Client{
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second},
			// A redirect would take the key elsewhere, and may turn a DELETE into a GET.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
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
	defer answer.Close()
	raw, err := io.ReadAll(io.LimitReader(answer, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	if !json.Valid(raw) {
		return nil, c.stranger("what it answers is not JSON")
	}
	return raw, nil
}

// open sends a request and returns the body of its answer, which is a success; the caller closes it.
func (c *client) open(ctx context.Context, method, path string, query url.Values, body any) (io.ReadCloser, error) {
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
		return answer.Body, nil
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
