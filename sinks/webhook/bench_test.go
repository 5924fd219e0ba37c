package webhook_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/evosink/evosink/core/sink"
)

// BenchmarkDeliver compares deliveries of 1 KiB events to a receiver on loopback with a bare [http.Client] that posts a ready
// body of the same size, one at a time, in the same run.
func BenchmarkDeliver(b *testing.B) {
	r := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { io.Copy(io.Discard, req.Body) }))
	defer r.Close()
	d := delivery("instance", settingsFor(r.URL, ""))
	d.Event.Data = json.RawMessage(fmt.Sprintf(`{"key":{"remoteJid":"5511988887777@s.whatsapp.net","fromMe":false},"message":{"conversation":%q}}`, strings.Repeat("x", 900)))

	b.Run("bare client", func(b *testing.B) {
		body := make([]byte, 1300)
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		b.ReportAllocs()
		for b.Loop() {
			res, err := client.Post(r.URL, "application/json", bytes.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		rate(b)
	})
	for name, more := range map[string]string{
		"plain": "", "signed": `,"secrets":["` + whsec + `"]`, "signed, token, gzip": `,"secrets":["` + whsec + `"],"headers":{"jwt_key":"k"},"gzip":true`,
	} {
		b.Run(name, func(b *testing.B) {
			s := open(b)
			d := *d
			d.Settings = settingsFor(r.URL, more)
			b.ReportAllocs()
			for b.Loop() {
				if err := s.Deliver(b.Context(), &d); err != nil {
					b.Fatal(err)
				}
			}
			rate(b)
		})
	}
}

func rate(b *testing.B) { b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s") }

// BenchmarkTargets is what the sink costs for each event that arrives.
func BenchmarkTargets(b *testing.B) {
	for name, more := range map[string]string{"single form": "", "with filters": `,"filters":{"group":false}`} {
		b.Run(name, func(b *testing.B) {
			s := open(b)
			e, settings := message("x"), settingsFor("http://h", more)
			b.ReportAllocs()
			for b.Loop() {
				if len(s.Targets(e, []sink.Scope{sink.Instance}, settings)) != 1 {
					b.Fatal("no target")
				}
			}
		})
	}
}
