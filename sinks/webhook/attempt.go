package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"

	"github.com/evosink/evosink/core/sink"
)

// errTimeout ends an attempt that takes too long.
var errTimeout = errors.New("no answer in time")

// attempt sends a request and follows where it may. ctx ends it.
func (s *Sink) attempt(ctx context.Context, t *http.Transport, r *request) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.config.RequestTimeout, errTimeout)
	defer cancel()
	at := r.address
	for hops := 0; ; hops++ {
		a, err := exchange(ctx, t, r, at)
		if err != nil {
			return err
		}
		next, err := a.redirect(at, hops)
		if err != nil {
			return err
		}
		if next == nil {
			return s.result(a)
		}
		at = next
	}
}

// exchange makes one hop and reports its answer. It is below [http.Client], which would follow redirects
// and write the whole URL into its errors. The end of ctx ends whatever the hop has left behind.
func exchange(ctx context.Context, t *http.Transport, r *request, to *url.URL) (answer, error) {
	var connected atomic.Bool
	out, err := r.http(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { connected.Store(false) },
		GotConn: func(c httptrace.GotConnInfo) {
			if connected.Store(true); !c.Reused { // an old one says nothing about now
				sink.Connected(ctx)
			}
		},
	}), to)
	if err != nil {
		return answer{}, sink.Permanent(fmt.Errorf("make the request: %w", err))
	}
	res, err := t.RoundTrip(out)
	if err != nil {
		return answer{}, failure(ctx, err, to.Host, connected.Load())
	}
	head := sink.ReadHead(ctx, res)
	_ = res.Body.Close()
	sink.Report(ctx, sink.Answer{Status: statusText(res.StatusCode), Head: head})
	return answer{res.StatusCode, res.Header}, nil
}

// failure turns the error of a request without an answer into the result of the delivery. Without a connection, nothing is
// known about the event, and the receiver is down; with one, the event may be the reason.
func failure(ctx context.Context, err error, host string, connected bool) error {
	var guarded *refused
	if errors.As(err, &guarded) {
		return sink.Permanent(fmt.Errorf("connect to %s: %w", host, guarded))
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause // says more than "context canceled"
	}
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("post to %s: %w", host, err)
	case !connected:
		return sink.Unavailable(fmt.Errorf("connect to %s: %w", host, err))
	}
	return fmt.Errorf("post to %s: %w", host, err)
}
