package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/instances"
)

// A request may come to one node a moment after another has made its instance or its token, and before the change has
// arrived. The node of the test follows nothing, so that it sees only what it looks for.
func TestATokenOfAnotherNodeOpensAtOnce(t *testing.T) {
	const evolution = `{"event":"messages.upsert","instance":"fresh","data":{},"apikey":"FRESH-TOKEN-0123456789"}`
	for name, request := range map[string]struct {
		method, path, body, key string
		want                    int
	}{
		"a token in the header":    {"GET", "/webhook/find/fresh", "", "FRESH-TOKEN-0123456789", http.StatusOK},
		"a token for an event":     {"POST", "/events/fresh", `{"event":"call","data":{}}`, "FRESH-TOKEN-0123456789", http.StatusCreated},
		"a token in a webhook":     {"POST", "/ingest/evolution", evolution, "", http.StatusCreated},
		"an instance":              {"GET", "/webhook/find/fresh", "", globalKey, http.StatusOK},
		"an instance in a filter":  {"GET", "/instance/fetchInstances?instanceName=fresh", "", globalKey, http.StatusOK},
		"a wrong key":              {"GET", "/webhook/find/fresh", "", "WRONG-TOKEN-0123456789", http.StatusUnauthorized},
		"an instance that is none": {"GET", "/webhook/find/none", "", globalKey, http.StatusNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := memory.New(memory.DefaultConfig())
			if err != nil {
				t.Fatal(err)
			}
			here, err := instances.Open(t.Context(), store, instances.Sum(globalKey))
			if err != nil {
				t.Fatal(err)
			}
			other, err := instances.Open(t.Context(), store, instances.Sum(globalKey))
			if err != nil {
				t.Fatal(err)
			}
			s := newServer(t, func(o *httpapi.Options) { o.Registry = here })
			if _, err := other.Create(t.Context(), instances.Instance{Name: "fresh"}, "FRESH-TOKEN-0123456789"); err != nil {
				t.Fatal(err)
			}
			var header []string
			if request.key != "" {
				header = []string{"apikey", request.key}
			}
			if got := s.do(request.method, request.path, request.body, header...); got.Code != request.want {
				t.Errorf("%d %s, want %d", got.Code, got.text, request.want)
			}
		})
	}
}
