package httpapi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
	"unicode/utf8"

	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/remote"
)

// maxSettings bounds the bodies of all routes that do not carry events, in bytes.
const maxSettings = 1 << 20

// firstRead is how many bytes of a body there is memory for before any has arrived.
const firstRead = 4 << 10

// operator is the holder of the global key.
var operator = caller{Principal: sink.Principal{Global: true}}

// ownerOf is the caller to which bodies about an instance are counted, also those with the global key.
func ownerOf(in instances.Instance) caller {
	return caller{Principal: sink.Principal{Instance: in.Name}}
}

// readBody reads the body of at most limit bytes of a request by the holder of a key. Its memory is counted for that
// holder and for the client's address until the request is answered; over a limit of the server's budget it is refused
// (429, 503). The body is UTF-8: anything else would break the text frames that it leaves in.
func (a *API) readBody(w http.ResponseWriter, r *http.Request, who caller, limit int64) ([]byte, error) {
	return onlyText(a.readBytes(w, r, &hold{who: who, known: true}, limit))
}

// readStranger is readBody for a sender without a key.
func (a *API) readStranger(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	return onlyText(a.readBytes(w, r, &hold{}, limit))
}

func onlyText(body []byte, err error) ([]byte, error) {
	if err == nil && !utf8.Valid(body) {
		return nil, notUTF8()
	}
	return body, err
}

func notUTF8() *problem { return badRequest("The body is not valid UTF-8") }

// readBytes is readBody for what is UTF-8 only if that is checked by what reads the bytes anyway.
func (a *API) readBytes(w http.ResponseWriter, r *http.Request, h *hold, limit int64) ([]byte, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, &problem{
			status:  http.StatusUnsupportedMediaType,
			message: []string{"Content-Encoding is not supported; send the body as it is"},
		}
	}
	if r.ContentLength > limit {
		discard(w, r)
		return nil, tooLarge("The body has %d bytes, at most %d are allowed", r.ContentLength, limit)
	}
	h.budget, h.client = a.bodies, remote.Resolve(r, a.proxies)
	w.(*recorder).body = h // handlers are called by serve only, which releases it
	var body []byte
	err := h.fits(max(r.ContentLength, 0))
	if err == nil {
		body, err = readGrowing(http.MaxBytesReader(w, r.Body, limit), r.ContentLength, limit, h.grow)
	}
	var refused *problem
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &refused):
		switch {
		case refused.status >= 500 && a.bodies.lines.Allow():
			a.opts.Logger.Warn().Err(refused).Msg("request bodies are refused")
		case refused.status < 500 && a.bodies.shares.Allow(h.client):
			a.opts.Logger.Info().Err(refused).Stringer("address", h.client).Msg("request bodies of one client are refused")
		}
		h.release()
		discard(w, r)
		return nil, refused
	case errors.As(err, &over):
		return nil, tooLarge("The body has more than the %d bytes that are allowed", limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &problem{status: http.StatusRequestTimeout, message: []string{"The body did not arrive in time"}}
	case err != nil:
		return nil, badRequest("The body did not arrive whole")
	}
	setReadDeadline(w, time.Time{})
	w.(*recorder).patience = answerTime
	return body, nil
}

// readGrowing reads to the end into memory that grows with what arrives, never by more than to four times that, and no
// further than to the announced length (-1: unknown) or limit. grow is asked before each step, for the bytes in all.
func readGrowing(r io.Reader, length, limit int64, grow func(int64) error) ([]byte, error) {
	most, factor := limit, int64(2)
	first := min(firstRead, most)
	if length >= 0 {
		most, factor = length, 4
		for first = length; first > firstRead; { // so that the last step is a whole one too
			first = (first + factor - 1) / factor
		}
	}
	var body []byte
	for size := first; ; size = min(factor*size, most) {
		if err := grow(size); err != nil {
			return nil, err
		}
		larger := make([]byte, len(body), size)
		copy(larger, body)
		body = larger
		for len(body) < cap(body) {
			n, err := r.Read(body[len(body):cap(body)])
			body = body[:len(body)+n]
			if err != nil {
				return body, unlessEnd(err)
			}
		}
		if size == most { // nothing may follow
			var next [1]byte
			_, err := io.ReadFull(r, next[:])
			return body, unlessEnd(err)
		}
	}
}

func unlessEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// discardTime is how long a body that is refused is read on, so that the sender gets to see the answer and not a
// connection that breaks.
const discardTime = 5 * time.Second

func discard(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Expect") != "" { // it waits for the answer
		return
	}
	setReadDeadline(w, time.Now().Add(discardTime))
	_, _ = io.Copy(io.Discard, r.Body) // a sender that takes longer is cut off
}

// limitBody gives a request's body its time to arrive. That holds also for a body that no handler reads, for net/http
// reads what is left of one before it sends the answer.
func (a *API) limitBody(rec *recorder, r *http.Request) {
	if r.Body != http.NoBody {
		rec.patience += a.opts.Config.Server.BodyTimeout
		setReadDeadline(rec, time.Now().Add(a.opts.Config.Server.BodyTimeout))
	}
}

func setReadDeadline(w http.ResponseWriter, t time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(t) // a writer without deadlines has no slow peer either
}
