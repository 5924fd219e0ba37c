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

// readBody reads a request's body of at most limit bytes, and in time. It is UTF-8: anything else would break
// the text frames that it leaves in.
func (a *API) readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, &problem{status: http.StatusUnsupportedMediaType, message: []string{"Content-Encoding is not supported; send the body as it is"}}
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(a.opts.Config.Server.BodyTimeout)) // a writer without deadlines has no slow peer either
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	_ = control.SetReadDeadline(time.Time{})
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge("The body has more than %d bytes", limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &problem{status: http.StatusRequestTimeout, message: []string{"The body did not arrive in time"}}
	case err != nil:
		return nil, badRequest("The body did not arrive whole")
	case !utf8.Valid(body):
		return nil, badRequest("The body is not valid UTF-8")
	}
	return body, nil
}
