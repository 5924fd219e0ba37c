package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// adminRoutes are all of them, with something in place of wildcards.
var adminRoutes = []string{
	"GET /admin/sinks", "GET /admin/queue", "DELETE /admin/queue?all=true", "POST /admin/queue/pause", "POST /admin/queue/resume",
	"GET /admin/queue/attempts/x", "GET /admin/dead", "DELETE /admin/dead?all=true", "POST /admin/dead/replay", "GET /admin/dead/1",
	"DELETE /admin/dead/1", "POST /admin/dead/1/replay",
}

func TestAdminRoutesAndMetricsNeedTheGlobalKey(t *testing.T) {
	s := newServer(t)
	for _, route := range append(adminRoutes, "GET /metrics") {
		method, path, _ := strings.Cut(route, " ")
		for _, header := range [][]string{nil, {"apikey", "wrong"}, {"apikey", salesKey}, {"Authorization", "Bearer " + salesKey}} {
			s.do(method, path, "{", header...).is(t, 401, unauthorized)
		}
		s.do(method, path+"?apikey="+globalKey, "{").is(t, 401, unauthorized)
	}
}

func TestWithoutAQueueItsRoutesSaySo(t *testing.T) {
	s := newServer(t)
	for _, route := range adminRoutes[1:] {
		method, path, _ := strings.Cut(route, " ")
		s.admin(method, path, "").says(t, 409, "There is no delivery queue: no sink is enabled that needs one")
	}
	s.admin("GET", "/admin/sinks", "").says(t, 200, `"name":"rabbitmq","mode":"queued","enabled":false,"healthy":false`)
}

func TestWhatIsNotUnderstoodSelectsNothing(t *testing.T) {
	r := newRig(t)
	r.bury(t, 1)
	r.emit(t, "sales", "busy-1")
	r.stands(t, "sales", "waiting")
	for _, c := range []struct{ method, path, body, want string }{
		{"DELETE", "/admin/queue", "", "Say whose deliveries to remove for good: ?sink=NAME"},
		{"DELETE", "/admin/queue?instance=sales", "", "?sink=NAME"},
		{"DELETE", "/admin/queue?sink=hook&instance=", "", `\"instance\" is empty`},
		{"DELETE", "/admin/queue?sink=hook&instnce=other", "", `\"instnce\" is unknown; known are: sink, target, instance, all`},
		{"DELETE", "/admin/queue?sink=other&sink=hook", "", `\"sink\" is there 2 times`},
		{"DELETE", "/admin/queue?all=yes", "", `\"all\" must be one of false, true, not \"yes\"`},
		{"DELETE", "/admin/queue?sink=hook;x", "", "malformed"},
		{"DELETE", "/admin/queue?sink=" + strings.Repeat("x", 1001), "", "at most 1000"},
		{"DELETE", "/admin/dead", "", "Say which dead letters to remove"},
		{"DELETE", "/admin/dead?reason=old", "", "must be one of permanent, attempts, age, full, instance deleted"},
		{"DELETE", "/admin/dead?ids=1", "", `\"ids\" is unknown`},
		{"POST", "/admin/dead/replay", "", "Say which dead letters to replay"},
		{"POST", "/admin/dead/replay", `{"instance":""}`, "is empty"},
		{"POST", "/admin/dead/replay", `{"instance":null}`, "must be a text"},
		{"POST", "/admin/dead/replay", `{"ids":[]}`, "empty list"},
		{"POST", "/admin/dead/replay", `{"ids":[[1]]}`, "a list in a list"},
		{"POST", "/admin/dead/replay", `{"ids":[0,"x",1.5]}`, `\"1.5\" is not the id of a dead letter`},
		{"POST", "/admin/dead/replay", `{"ids":[1],"all":true}`, "stand alone"},
		{"POST", "/admin/dead/replay", `{"ids":[1` + strings.Repeat(",1", 1000) + `]}`, "holds 1001 ids, at most 1000"},
		{"POST", "/admin/dead/replay", `[]`, "must be a JSON object"},
		{"POST", "/admin/dead/replay", `{`, "ends in the middle"},
		{"POST", "/admin/queue/pause", ``, "Say what to pause"},
		{"POST", "/admin/queue/pause", `{"reason":"x","all":false}`, "Say what to pause"},
		{"POST", "/admin/queue/pause", `{"sink":"hok"}`, `No sink is called \"hok\"; there are: hook, live, off`},
		{"POST", "/admin/queue/resume", `{}`, "Say what to resume"},
		{"GET", "/admin/queue?limit=0", "", `\"limit\" must be a number from 1 to 1000, not \"0\"`},
		{"GET", "/admin/queue?after=x", "", `must be the \"next\" of the page before`},
		{"GET", "/admin/queue/attempts/x?after=-1", "", "must be a number"},
		{"GET", "/admin/dead?order=up", "", "newest, oldest"},
		{"GET", "/admin/sinks?x=1", "", "unknown"},
	} {
		r.admin(c.method, c.path, c.body).says(t, 400, c.want)
	}
	if l := r.line("sales"); l == nil || l.Waiting != 1 || l.Paused != nil {
		t.Errorf("the lane is %+v", l)
	}
	r.hasLettersBesideTheQueue(t, 1)
}

func (r *rig) hasLettersBesideTheQueue(t *testing.T, n int) {
	t.Helper()
	if got, err := r.Queue().CountDeadLetters(t.Context(), queue.DeadLetterFilter{}); got != n || err != nil {
		t.Errorf("%d dead letters (%v), want %d", got, err, n)
	}
}

func TestTheBacklogTellsWhereEachLaneStandsAndWhy(t *testing.T) {
	r := newRig(t)
	r.allow("asleep", "unavailable", "held", "switched-off")
	r.admin("POST", "/admin/queue/pause", `{"sink":"hook","instance":"held","reason":"maintenance"}`).says(t, 200, `"lanes":0,"waiting":0`)
	r.emit(t, "asleep", "busy-1", "busy-2")
	r.emit(t, "unavailable", "down-1")
	r.emit(t, "held", "well-1")
	r.emit(t, "switched-off", "busy-3")
	r.stands(t, "asleep", "waiting")
	r.stands(t, "unavailable", "ready")
	r.stands(t, "switched-off", "waiting")
	r.admin("POST", "/hook/set/switched-off", `{"enabled":false}`).says(t, 201)
	r.stands(t, "switched-off", "parked")
	eventually(t, "held to be parked", func() bool { l := r.line("held"); return l != nil && l.State == "parked" })
	eventually(t, "two to wait", func() bool { return r.line("asleep").Waiting == 2 })
	r.admin("GET", "/admin/queue", "").golden(t, "queue.json")
	r.admin("GET", "/admin/queue?sink=hook&target=instance&instance=held", "").says(t, 200, `"total":1,"waiting":1`, `"pauses":[{"sink":"hook"`)
	r.admin("GET", "/admin/queue?instance=asleep", "").says(t, 200, `"pauses":[]`)
	r.admin("GET", "/admin/queue?sink=off", "").is(t, 200, `{"lanes":[],"pauses":[],"total":0,"waiting":0}`)
}

func TestTheBacklogComesInPages(t *testing.T) {
	r := newRig(t)
	var want []string
	for i := range 5 {
		name := fmt.Sprint("i", i)
		want = append(want, name)
		r.allow(name)
		r.emit(t, name, "busy-1")
		r.stands(t, name, "waiting")
	}
	var got []string
	for after, pages := "", 0; pages < 10; pages++ {
		a := r.admin("GET", "/admin/queue?limit=2"+after, "")
		a.says(t, 200, `"total":5`)
		var page struct {
			Lanes []struct{ Instance string }
			Next  string
		}
		if err := json.Unmarshal([]byte(a.text), &page); err != nil {
			t.Fatal(err)
		}
		for _, l := range page.Lanes {
			got = append(got, l.Instance)
		}
		if after = "&after=" + page.Next; page.Next == "" {
			break
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWhatIsPausedWaitsUntilItIsResumed(t *testing.T) {
	r := newRig(t)
	r.admin("POST", "/admin/queue/pause", `{"all":true}`).says(t, 200, `{"pause":{"at":"`)
	r.emit(t, "sales", "well-1")
	eventually(t, "one to wait", func() bool { return r.line("sales") != nil })
	r.admin("POST", "/admin/queue/resume", `{"sink":"hook"}`).says(t, 200, `{"resumed":false,"pauses":[{"at":"`)
	if len(r.hook.got) > 0 {
		t.Error("delivered although it is paused")
	}
	r.admin("POST", "/admin/queue/resume", `{"all":true,"reason":"done"}`).is(t, 200, `{"resumed":true,"pauses":[]}`)
	if id := <-r.hook.got; id != "well-1" {
		t.Errorf("got %s", id)
	}
}

func TestAPurgeRemovesWhatItSelects(t *testing.T) {
	r := newRig(t, audited)
	r.allow("other")
	for _, name := range []string{"sales", "other"} {
		r.emit(t, name, "busy-1", "busy-2")
		r.stands(t, name, "waiting")
		eventually(t, "two to wait", func() bool { return r.line(name).Waiting == 2 })
	}
	r.admin("DELETE", "/admin/queue?sink=hook&instance=sales", "").is(t, 200, `{"purged":2}`)
	r.admin("DELETE", "/admin/queue?sink=hook&instance=sales", "").is(t, 200, `{"purged":0}`)
	r.admin("DELETE", "/admin/queue?all=true", "").is(t, 200, `{"purged":2}`)
	if !strings.Contains(r.log.String(), `"deliveries":2`) {
		t.Errorf("log: %s", r.log)
	}
}

func TestTheAttemptsOfAnEventAreLookedUpByItsID(t *testing.T) {
	r := newRig(t)
	r.allow("other")
	r.emit(t, "sales", "bad-x/1")
	r.hasLetters(t, 1)
	r.emit(t, "other", "bad-x/1")
	r.hasLetters(t, 2)
	r.admin("GET", "/admin/queue/attempts/bad-x%2F1?limit=1&after=1", "").golden(t, "attempts.json")
	r.admin("GET", "/admin/queue/attempts/bad-x%2F1?limit=1", "").says(t, 200, `"total":2,"next":"1"`)
	r.admin("GET", "/admin/queue/attempts/bad-x%2F1?after=7", "").is(t, 200, `{"attempts":[],"total":2}`)
	r.admin("GET", "/admin/queue/attempts/unknown", "").is(t, 200, `{"attempts":[],"total":0}`)
}

func TestSinksAreListedWithHowTheyStand(t *testing.T) {
	r := newRig(t)
	r.admin("POST", "/admin/queue/pause", `{"sink":"hook","instance":"other"}`).says(t, 200)
	r.admin("POST", "/admin/queue/pause", `{"sink":"off"}`).says(t, 200)
	r.emit(t, "sales", "busy-1")
	r.stands(t, "sales", "waiting")
	r.admin("GET", "/admin/sinks", "").golden(t, "sinks.json")
	r.hook.well.Store(true)
	r.admin("GET", "/admin/sinks", "").says(t, 200, `"healthy":true,"connectedSince":"2026-11-22T09:00:00.000Z","waiting":1`,
		`"lastError":"the receiver answered 503","lastErrorAt":"`)
}

func TestASinkThatIsDownIsToldByReadyzAndFailsNobodyElse(t *testing.T) {
	r := newRig(t)
	r.do("GET", "/readyz", "").is(t, 200, `{"status":"ready","failing":1}`)
	r.admin("GET", "/readyz", "").is(t, 200, `{"status":"ready","failing":1,"sinks":{"hook":"some receivers are down","live":"ok"}}`)
}

func TestASinkMayHaveAnyName(t *testing.T) {
	s := newServer(t, func(o *httpapi.Options) {
		o.Sinks = []*sink.Factory{}
		for _, name := range []string{"admin", "queue", "dead", "sinks", "metrics", "events", "instance", "ingest"} {
			o.Sinks = append(o.Sinks, use(name, plainSchema, switches{On: true}))
		}
	})
	s.admin("POST", "/admin/set/sales", `{"admin":{"enabled":true}}`).says(t, 201)
	s.admin("GET", "/dead/find/sales", "").is(t, 200, "null")
	s.admin("GET", "/admin/sinks", "").says(t, 200, `"name":"admin"`)
}

func TestTheLocalAddressIsOneThatAClientCanUse(t *testing.T) {
	for host, want := range map[string]string{
		"": "http://127.0.0.1:8080", "0.0.0.0": "http://127.0.0.1:8080", "::": "http://127.0.0.1:8080", "::1": "http://[::1]:8080",
		"api.example": "http://api.example:8080",
	} {
		c := httpapi.Default().Server
		if c.Host = host; c.Local() != want {
			t.Errorf("%q: %s, want %s", host, c.Local(), want)
		}
	}
}
