package evolution_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/evolution"
	"github.com/evosink/evosink/core/event"
)

func dateTime(t *testing.T, e *event.Event, envelope evolution.Envelope) string {
	t.Helper()
	var got struct {
		DateTime string `json:"date_time"`
	}
	if err := json.Unmarshal(envelope.Codec(false).Append(nil, e), &got); err != nil {
		t.Fatal(err)
	}
	return got.DateTime
}

func TestTheClockOfEnvelopesIsUTCUnlessAskedFor(t *testing.T) {
	e := &event.Event{Name: "call", Instance: "sales", Time: time.Date(2025, 10, 21, 14, 0, 39, 512e6, time.UTC)}
	for zone, want := range map[string]string{
		"UTC":               "2025-10-21T14:00:39.512Z",
		"":                  "2025-10-21T14:00:39.512Z",
		"America/Sao_Paulo": "2025-10-21T11:00:39.512Z",
		"Local":             e.Time.Local().Format("2006-01-02T15:04:05.000Z"),
	} {
		envelope := evolution.Envelope{TimeZone: zone}
		if err := envelope.Validate(); err != nil {
			t.Fatal(err)
		}
		if got := dateTime(t, e, envelope); got != want {
			t.Errorf("%q: %s, want %s", zone, got, want)
		}
	}
}

func TestAnUnknownTimeZoneIsAClearError(t *testing.T) {
	err := evolution.Envelope{TimeZone: "Sao Paulo"}.Validate()
	if err == nil || !strings.Contains(err.Error(), `"Sao Paulo"`) || !strings.Contains(err.Error(), "America/Sao_Paulo") {
		t.Error(err)
	}
}

func TestWhatEvolutionAPISaysOfTheTimeComesOutAgain(t *testing.T) {
	for zone, at := range map[string]time.Time{
		"UTC":               time.Date(2025, 10, 21, 11, 0, 39, 512e6, time.UTC),
		"America/Sao_Paulo": time.Date(2025, 10, 21, 14, 0, 39, 512e6, time.UTC),
	} {
		envelope := evolution.Envelope{TimeZone: zone}
		e, err := envelope.DecodeAPI([]byte(apiBody))
		if err != nil {
			t.Fatal(err)
		}
		if !e.Time.Equal(at) {
			t.Errorf("%s: it is %s, want %s", zone, e.Time, at)
		}
		if got := dateTime(t, e, envelope); got != "2025-10-21T11:00:39.512Z" {
			t.Errorf("%s: %s", zone, got)
		}
		plain, _ := evolution.DecodeAPI([]byte(apiBody))
		if e.ID != plain.ID {
			t.Errorf("%s: another id", zone)
		}
	}
	e, err := evolution.Envelope{TimeZone: "America/Sao_Paulo"}.DecodeAPI([]byte(`{"event":"call","instance":"sales","data":{}}`))
	if err != nil || !e.Time.IsZero() {
		t.Errorf("a time that is missing became %v (%v)", e.Time, err)
	}
}
