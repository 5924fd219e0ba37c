package pusher_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/e2e/sinkbench"
	"github.com/evosink/evosink/sinks/pusher"
)

// quiet is a server that keeps nothing.
func quiet(b *testing.B) *server {
	s := newServer(b)
	s.refuse = func(string) int {
		s.triggered, s.requests = nil, nil
		return 0
	}
	return s
}

// The bare loop: what Pusher's own library does, a signed POST of the same events, over net/http.
func BenchmarkBareRequests(b *testing.B) {
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			s := quiet(b)
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			e := delivery(sink.Global, "sales", "messages.upsert", `{"text":"oi"}`).Event
			for b.Loop() {
				if err := postBare(client, s, e, n); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// postBare posts one request of n events, at most ten.
func postBare(client *http.Client, s *server, e *event.Event, n int) error {
	var list []map[string]string
	for range n {
		list = append(list, map[string]string{"channel": "sales", "name": e.Name, "data": string(event.Codec{}.Append(nil, e))})
	}
	body, err := json.Marshal(map[string]any{"batch": list})
	if err != nil {
		return err
	}
	sum := md5.Sum(body)
	query := fmt.Sprintf("auth_key=%s&auth_timestamp=%d&auth_version=1.0&body_md5=%x", appKey, time.Now().Unix(), sum)
	mac := hmac.New(sha256.New, []byte(appSecret))
	io.WriteString(mac, "POST\n/apps/"+appID+"/batch_events\n"+query)
	res, err := client.Post(s.URL+"/apps/"+appID+"/batch_events?"+query+"&auth_signature="+hex.EncodeToString(mac.Sum(nil)), "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// BenchmarkEndToEnd is the whole way through the durable queue, beside the bare loop by one goroutine, ten events a request. The server is in this process.
func BenchmarkEndToEnd(b *testing.B) {
	s := quiet(b)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	e := delivery(sink.Global, "sales", sinkbench.Name, string(sinkbench.Data)).Event
	f := sink.Use(pusher.Spec, func(c *pusher.Config) {
		*c = s.config()
		c.Events = sink.Switches{"CALL": true}
	})
	sinkbench.Run(b, f, 10, func(n, atOnce int) error {
		for ; n > 0; n -= atOnce {
			if err := postBare(client, s, e, min(n, atOnce)); err != nil {
				return err
			}
		}
		return nil
	})
}

func BenchmarkDeliverBatch(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("batch=%d", n), func(b *testing.B) {
			s := start(b, quiet(b).config())
			batch := make([]*sink.Delivery, n)
			for i := range batch {
				batch[i] = delivery(sink.Global, "sales", "messages.upsert", `{"text":"oi"}`)
			}
			for b.Loop() {
				for _, err := range s.DeliverBatch(b.Context(), batch) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
