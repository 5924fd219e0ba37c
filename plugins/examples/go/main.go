// Command slack posts every event to a Slack-style incoming webhook.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/evosink/evosink/plugins/sdk"
)

var config struct{ URL string }
var client = http.Client{Timeout: 20 * time.Second}

func main() { sdk.Main(sdk.Plugin{Config: &config, MaxInFlight: 16, Deliver: post}) }

func post(_ context.Context, d *sdk.Delivery) error {
	text := fmt.Sprintf("*%s* %s\n```%s```", d.Instance, d.Event, d.Data)
	body, _ := json.Marshal(map[string]string{"text": text}) // texts always marshal
	answer, err := client.Post(config.URL, "application/json", bytes.NewReader(body))
	if err != nil {
		return sdk.Unavailable(err)
	}
	defer answer.Body.Close()
	wait, _ := time.ParseDuration(answer.Header.Get("Retry-After") + "s") // 0 without one
	switch err := fmt.Errorf("HTTP %s", answer.Status); {
	case answer.StatusCode < 300:
		return nil
	case wait > 0:
		return sdk.RetryAfter(err, wait)
	case answer.StatusCode >= 500:
		return sdk.Unavailable(err)
	default:
		return sdk.Permanent(err)
	}
}
