package httpapi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
	"unicode/utf8"
)

// maxSettings bounds the bodies of all routes that do not carry events, in bytes.
const maxSettings = 1 << 20

// readBody reads a request's body of at most limit bytes. It is UTF-8: anything else would break
// the text frames that it leaves in.
func (a *API) readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, &problem{status: http.StatusUnsupportedMediaType, message: []string{"Content-Encoding is not supported; send the body as it is"}}
	}
	if r.ContentLength > limit {
		return nil, tooLarge("The body has %d bytes, at most %d are allowed", r.ContentLength, limit)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge("The body has more than the %d bytes that are allowed", limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &problem{status: http.StatusRequestTimeout, message: []string{"The body did not arrive in time"}}
	case err != nil:
		return nil, badRequest("The body did not arrive whole")
	case !utf8.Valid(body):
		return nil, badRequest("The body is not valid UTF-8")
	}
	setReadDeadline(w, time.Time{})
	return body, nil
}

// limitBody gives a request's body its time to arrive. That holds also for a body that no handler reads, for net/http
// reads what is left of one before it sends the answer.
func (a *API) limitBody(w http.ResponseWriter, r *http.Request) {
	if r.Body != http.NoBody {
		setReadDeadline(w, time.Now().Add(a.opts.Config.Server.BodyTimeout))
	}
}

func setReadDeadline(w http.ResponseWriter, t time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(t) // a writer without deadlines has no slow peer either
}
