package engineio

import (
	"net/http"
	"slices"
)

// allow sets the headers that let the request's origin read the answer, if it
// is one of those listed.
func (c *CORS) allow(header http.Header, r *http.Request) {
	if c == nil {
		return
	}
	if slices.Contains(c.Origins, "*") {
		header.Set("Access-Control-Allow-Origin", "*")
	} else {
		header.Add("Vary", "Origin")
		if origin := r.Header.Get("Origin"); slices.Contains(c.Origins, origin) {
			header.Set("Access-Control-Allow-Origin", origin)
		}
	}
	if c.Credentials {
		header.Set("Access-Control-Allow-Credentials", "true")
	}
}

// preflight answers an OPTIONS request.
func (c *CORS) preflight(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	c.allow(header, r)
	header.Set("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE")
	header.Add("Vary", "Access-Control-Request-Headers")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		header.Set("Access-Control-Allow-Headers", asked)
	}
	w.WriteHeader(http.StatusNoContent)
}
