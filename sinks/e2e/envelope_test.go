package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestDateTimeCanBeEvolutionsLocalClock(t *testing.T) {
	for zone, want := range map[string]string{"UTC": "2025-10-21T14:00:39.512Z", "America/Sao_Paulo": "2025-10-21T11:00:39.512Z"} {
		p := launch(t, t.TempDir(), "WEBSOCKET_ENABLED=true", "WEBSOCKET_GLOBAL_EVENTS=true", "ENVELOPE_TIME_ZONE="+zone)
		l := p.listen("")
		p.must(201, "POST", "/events/sales", `{"event":"call","data":{},"date_time":"2025-10-21T14:00:39.512Z"}`)
		for {
			e, ok := l.next(30 * time.Second)
			if !ok || e.Event == "call" && e.DateTime != want {
				t.Fatalf("%s: the consumer reads %q, want %q", zone, e.DateTime, want)
			}
			if e.Event == "call" {
				break
			}
		}
	}
}

// Evolution API 2.3.7 tells beside the data how far a history has come, and posts again when it got no answer in time.
func TestARepeatedWebhookOfEvolutionReachesClientsOnceWithAllItsKeys(t *testing.T) {
	bodies := make(chan string, 16)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- string(body)
	}))
	defer receiver.Close()
	dir, env := t.TempDir(), []string{"WEBSOCKET_ENABLED=true", "WEBSOCKET_GLOBAL_EVENTS=true",
		"WEBHOOK_GLOBAL_ENABLED=true", "WEBHOOK_GLOBAL_URL=" + receiver.URL, "WEBHOOK_EVENTS_MESSAGES_SET=true"}
	p := launch(t, dir, env...)
	l := p.listen("")
	post := func(progress int) string {
		return p.must(201, "POST", "/ingest/evolution/messages-set", fmt.Sprintf(`{"isLatest":%v,"progress":%d,"event":"messages.set",
			"instance":"sales","data":[],"destination":"%s/ingest/evolution","date_time":"2025-10-21T14:00:39.512Z","apikey":null}`, progress == 100, progress, p.url))
	}
	marker := 0
	sets := func() (out []envelope) { // those before the next marker
		t.Helper()
		marker++
		p.must(201, "POST", "/events/sales", fmt.Sprintf(`{"event":"marker","data":%d}`, marker))
		for {
			switch e, ok := l.next(20 * time.Second); {
			case !ok:
				t.Fatal("the marker has not come")
			case e.Event == "marker":
				return out
			case e.Event == "messages.set":
				out = append(out, e)
			}
		}
	}
	first := post(50)
	for range 2 {
		if again := post(50); again != first {
			t.Errorf("the repetition is answered with %s, the first post with %s", again, first)
		}
	}
	var racing sync.WaitGroup
	for range 8 {
		racing.Go(func() { post(100) })
	}
	racing.Wait()
	got := sets()
	if len(got) != 2 || got[0].Progress != 50 || got[0].IsLatest || got[1].Progress != 100 || !got[1].IsLatest || got[0].ID == got[1].ID {
		t.Errorf("the client got %+v, want progress 50 and 100 once each", got)
	}
	for _, want := range []string{`"isLatest":false,"progress":50}`, `"isLatest":true,"progress":100}`} {
		select {
		case got := <-bodies:
			if !strings.HasSuffix(got, want) || strings.Count(got, "destination") != 1 {
				t.Errorf("the webhook's receiver got %s, want %s at its end", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the webhook's receiver got nothing")
		}
	}
	p.kill()
	p = launch(t, dir, env...)
	l = p.listen("")
	if again := post(50); again != first {
		t.Errorf("after a crash the repetition is answered with %s, the first post with %s", again, first)
	}
	post(100)
	if got := sets(); len(got) != 0 {
		t.Errorf("after a crash the client got %+v again", got)
	}
}

func TestAnUnknownTimeZoneIsRefused(t *testing.T) {
	cmd := command(t, t.TempDir())
	cmd.Env = append(cmd.Env, "ENVELOPE_TIME_ZONE=Sao Paulo")
	refuses(t, cmd, "envelope.time_zone", "ENVELOPE_TIME_ZONE", "America/Sao_Paulo")
}
