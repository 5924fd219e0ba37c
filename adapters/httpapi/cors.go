package httpapi

import (
	"net/http"
	"slices"
	"strings"
)

// allow sets the headers that let a page of an allowed origin read the answer. A page of another origin gets none, and
// its browser keeps the answer from it. Requests are not refused by origin: the key decides. "*" and credentials do not
// occur together, see [CORS.Validate].
func (c CORS) allow(h http.Header, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	h.Add("Vary", "Origin")
	if !slices.Contains(c.Origin, "*") && !slices.Contains(c.Origin, origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if c.Credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

// preflight answers the request by which a browser asks whether it may, and reports whether this was one.
func (c CORS) preflight(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions {
		return false
	}
	h := w.Header()
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Allow-Methods", strings.Join(c.Methods, ","))
		if wanted := r.Header.Get("Access-Control-Request-Headers"); wanted != "" {
			h.Add("Vary", "Access-Control-Request-Headers")
			h.Set("Access-Control-Allow-Headers", wanted)
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}
