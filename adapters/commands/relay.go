// Package commands has clients' commands done by the main API: what a socket.io client emits, socket.emit("send.message", {...}, ack), becomes a
// request to that API in the name of the client, and its answer the acknowledgement. The command's name chooses the route, {instance} in it is the
// command's instance, the body is the command's data as they are, and the key is the caller's own, in the header apikey: what
// the caller may do is the main API's to decide.
package commands

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/sink"
)

// A Relay does commands by requests to the main API. Any number of goroutines may use it at once.
type Relay struct {
	config Config
	base   string
	client *http.Client
}

// New returns a relay.
func New(c Config) (*Relay, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	client := &http.Client{
		Timeout: c.Timeout,
		// A redirect would carry the caller's key to another address.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Relay{config: c, base: strings.TrimSuffix(c.URL, "/"), client: client}, nil
}

// Handle has hub's clients' commands done by the relay, each that has a route. Without an address of the main API it does nothing.
func (r *Relay) Handle(hub *core.Hub) {
	if r.config.URL == "" {
		return
	}
	for name, text := range r.config.Routes {
		if to, _ := parseRoute(text); to.path != "" { // checked by Validate
			hub.Handle(name, func(ctx context.Context, c core.Command) (any, error) { return r.do(ctx, to, c) })
		}
	}
}

// do asks the main API and returns its answer.
func (r *Relay) do(ctx context.Context, to route, c core.Command) (any, error) {
	request, err := r.request(ctx, to, c)
	if err != nil {
		return nil, err
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return nil, unreachable(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusSwitchingProtocols { // what follows is no answer, and nothing bounds its end
		return r.read(answer.StatusCode, nil)
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, int64(r.config.MaxAnswer)+1))
	if err != nil {
		return nil, unreachable(err)
	}
	return r.read(answer.StatusCode, body)
}

func (r *Relay) request(ctx context.Context, to route, c core.Command) (*http.Request, error) {
	address := r.base + strings.ReplaceAll(to.path, "{instance}", url.PathEscape(c.Instance))
	var body io.Reader = http.NoBody
	if len(c.Data) > 0 && to.method != http.MethodGet {
		body = bytes.NewReader(c.Data)
	}
	request, err := http.NewRequestWithContext(ctx, to.method, address, body)
	if err != nil {
		return nil, fmt.Errorf("make the request to the main API: %w", err)
	}
	request.Header.Set("apikey", c.Key)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("X-Request-Id", c.ID)
	if body != http.NoBody {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

// read makes an answer, or an error, of what the main API said.
func (r *Relay) read(status int, body []byte) (json.RawMessage, error) {
	if len(body) > r.config.MaxAnswer {
		return nil, sink.CommandErrorf(sink.CodeTooLarge, "the main API's answer is larger than %d bytes; the command was done", r.config.MaxAnswer)
	}
	if !json.Valid(body) {
		body = quoted(body)
	}
	if status >= 200 && status < 300 {
		return body, nil
	}
	return nil, &sink.CommandError{Code: code(status), Message: fmt.Sprintf("the main API answered %d %s", status, http.StatusText(status)), Status: status, Details: body}
}

// quoted makes JSON of an answer that is none: a string of its beginning, or null.
func quoted(body []byte) json.RawMessage {
	if len(bytes.TrimSpace(body)) == 0 {
		return json.RawMessage("null")
	}
	text, _ := json.Marshal(strings.ToValidUTF8(string(body[:min(len(body), 1024)]), "\ufffd"))
	return text
}

// code translates a status.
func code(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return sink.CodeUnauthorized
	case status == http.StatusForbidden || status == http.StatusNotFound:
		return sink.CodeForbidden
	case status == http.StatusRequestEntityTooLarge:
		return sink.CodeTooLarge
	case status == http.StatusTooManyRequests:
		return sink.CodeTooFast
	case status >= 400 && status < 500:
		return sink.CodeInvalid
	case status == http.StatusBadGateway || status == http.StatusServiceUnavailable:
		return sink.CodeUnavailable
	case status == http.StatusGatewayTimeout:
		return sink.CodeTimeout
	}
	return sink.CodeFailed
}

// unreachable makes an answer of an error of the request. The address stays out of it.
func unreachable(err error) error {
	var failed *url.Error
	if errors.As(err, &failed) && failed.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return sink.CommandErrorf(sink.CodeTimeout, "the main API has not answered in time; the command may have been done")
	}
	return sink.CommandErrorf(sink.CodeUnavailable, "the main API cannot be reached")
}
