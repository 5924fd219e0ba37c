package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/core/event"
)

// nowhere is an emitter that takes everything.
type nowhere struct{}

func (nowhere) Emit(_ context.Context, events ...*event.Event) error {
	for _, e := range events {
		e.ID = "00000000-0000-7000-8000-000000000000"
	}
	return nil
}

// BenchmarkPostEvents is what a POST costs beside the engine and the network.
func BenchmarkPostEvents(b *testing.B) {
	one := `{"event":"messages.upsert","data":{"text":"` + strings.Repeat("x", 1000) + `"}}`
	for name, body := range map[string]string{
		"one": one, "ndjson100": strings.Repeat(one+"\n", 100), "array100": "[" + strings.Repeat(one+",", 99) + one + "]",
	} {
		b.Run(name, func(b *testing.B) {
			s := newServer(b, func(o *httpapi.Options) { o.Emitter = nowhere{} })
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/events/sales", strings.NewReader(body))
				r.Header.Set("apikey", salesKey)
				w := httptest.NewRecorder()
				if s.ServeHTTP(w, r); w.Code != http.StatusCreated {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
