package e2e_test

import (
	"testing"
	"time"
)

func TestDateTimeCanBeEvolutionsLocalClock(t *testing.T) {
	for zone, want := range map[string]string{"UTC": "2025-10-21T14:00:39.512Z", "America/Sao_Paulo": "2025-10-21T11:00:39.512Z"} {
		p := launch(t, t.TempDir(), "WEBSOCKET_ENABLED=true", "WEBSOCKET_GLOBAL_EVENTS=true", "ENVELOPE_TIME_ZONE="+zone)
		l := p.listen("")
		p.must(201, "POST", "/events/sales", `{"event":"call","data":{},"date_time":"2025-10-21T14:00:39.512Z"}`)
		for {
			e, ok := l.next(10 * time.Second)
			if !ok || e.Event == "call" && e.DateTime != want {
				t.Fatalf("%s: the consumer reads %q, want %q", zone, e.DateTime, want)
			}
			if e.Event == "call" {
				break
			}
		}
	}
}

func TestAnUnknownTimeZoneIsRefused(t *testing.T) {
	cmd := command(t, t.TempDir())
	cmd.Env = append(cmd.Env, "ENVELOPE_TIME_ZONE=Sao Paulo")
	refuses(t, cmd, "envelope.time_zone", "ENVELOPE_TIME_ZONE", "America/Sao_Paulo")
}
