package webhook_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestRedirectsNeverLoseTheEvent(t *testing.T) {
	elsewhere := newReceiver(t, nil)
	for _, c := range []struct {
		status   int
		location string
		want     string
		says     string
		requests int
	}{
		{301, "/new", "permanent", "turns a POST into a GET", 1},
		{302, "/new", "permanent", "turns a POST into a GET", 1},
		{303, "/new", "permanent", "turns a POST into a GET", 1},
		{307, "/new", "done", "", 2},
		{308, "/new?x=1", "done", "", 2},
		{307, "/", "permanent", "for the 4th time in a row", 4},
		{308, "", "permanent", "names no other address", 1},
		{307, "http://[bad", "permanent", "cannot be read", 1},
		{307, "mailto:someone", "permanent", "cannot be read", 1},
		{307, "//user:hunter2@other.example/x?token=hunter2", "permanent", "to http://other.example, another receiver", 1},
		{307, elsewhere.URL + "/new", "permanent", "another receiver", 1},
	} {
		r := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/new" {
				return
			}
			if c.location != "" {
				w.Header().Set("Location", c.location)
			}
			w.WriteHeader(c.status)
		})
		err := open(t).Deliver(t.Context(), delivery("instance", settingsFor(r.URL+"/", `,"secrets":["k"]`)))
		if outcome(err) != c.want || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%d to %q: %v, want %s that says %q", c.status, c.location, err, c.want, c.says)
		}
		seen := r.requests()
		if len(seen) != c.requests {
			t.Errorf("%d to %q: %d requests, want %d", c.status, c.location, len(seen), c.requests)
		}
		for _, req := range seen {
			if req.Method != http.MethodPost || req.body != seen[0].body || req.body == "" || req.Header.Get("Webhook-Signature") == "" {
				t.Errorf("%d to %q: a hop was %s with %d bytes", c.status, c.location, req.Method, len(req.body))
			}
		}
	}
	if len(elsewhere.requests()) > 0 {
		t.Error("headers went to another receiver")
	}
}
