package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// A handler answers a request, or returns an error for [API.fail] to answer; not both.
type handler func(w http.ResponseWriter, r *http.Request) error

// serve gives a handler what all routes have: limits of time for body and answer, CORS headers, an answer for its
// error, one line in the log. Neither query nor header nor body is logged: there are keys in them.
func (a *API) serve(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.inflight.Begin()
		defer a.inflight.End()
		start := time.Now()
		rec := &recorder{ResponseWriter: w, patience: answerTime}
		defer func() { rec.body.release() }()
		a.limitBody(rec, r)
		a.opts.Config.CORS.allow(rec.Header(), r)
		if err := h(rec, r); err != nil {
			a.fail(rec, r, err)
		}
		a.opts.Logger.Debug().Str("method", r.Method).Str("path", r.URL.Path).Int("status", rec.status).
			Dur("duration", time.Since(start)).Msg("request")
	})
}

// fail answers with an error in Evolution API's shape. What is this side's fault is logged here, once.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.status >= 500 && p.cause != nil && r.Context().Err() == nil {
		a.opts.Logger.Error().Err(err).Str("method", r.Method).Str("route", r.Pattern).Msg("request failed")
	}
	_ = p.write(w)
}

// write answers with p.
func (p *problem) write(w http.ResponseWriter) error {
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(p.retryAfter/time.Second)))
	}
	return writeJSON(w, p.status, p.body())
}

// notFound answers what no route matches, preflight requests of browsers among it, in Evolution API's words.
func (a *API) notFound(w http.ResponseWriter, r *http.Request) error {
	if a.opts.Config.CORS.preflight(w, r) {
		return nil
	}
	return notFound("Cannot " + r.Method + " " + r.URL.EscapedPath())
}

// writeJSON answers with v. Text is left as it is: there is no HTML here.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	return writeBody(w, status, bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

func writeBody(w http.ResponseWriter, status int, body []byte) error {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // fails only if the client has hung up
	return nil
}

// A recorder remembers what serve needs of an answer, and bounds the time that its client may take to read it.
type recorder struct {
	http.ResponseWriter
	status   int
	body     *hold         // what the request's body has of the budget; nil if none was read
	patience time.Duration // how long the client may take to read the answer, its length not considered
}

// How long a client may take to read an answer: answerTime, and for a long one the time that it takes at answerRate
// bytes per second. net/http lifts the deadline before the connection's next request.
const (
	answerTime = 10 * time.Second
	answerRate = 64 << 10
)

func (r *recorder) Write(p []byte) (int, error) {
	r.expect(len(p))
	return r.ResponseWriter.Write(p)
}

// expect gives the client its time to read what is written next.
func (r *recorder) expect(bytes int) {
	patience := r.patience + time.Duration(bytes/answerRate)*time.Second
	_ = http.NewResponseController(r.ResponseWriter).SetWriteDeadline(time.Now().Add(patience)) // where it is supported
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.expect(0)
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap is for [http.ResponseController].
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
