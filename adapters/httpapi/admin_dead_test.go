package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

func TestDeadLettersAreListedInPagesAndByFilters(t *testing.T) {
	r := newRig(t)
	r.bury(t, 3)
	r.admin("GET", "/admin/dead?limit=2", "").golden(t, "dead.json")
	r.admin("GET", "/admin/dead?limit=2&after=2", "").says(t, 200, `{"letters":[{"id":1,`, `}],"total":3}`)
	r.admin("GET", "/admin/dead?order=oldest&limit=1", "").says(t, 200, `{"letters":[{"id":1,`, `"next":"1"`)
	r.admin("GET", "/admin/dead?event=bad-001", "").says(t, 200, `{"letters":[{"id":2,`, `"total":1`)
	r.admin("GET", "/admin/dead?sink=hook&target=instance&instance=sales&reason=permanent&error=410", "").says(t, 200, `"total":3`)
	for _, none := range []string{"sink=live", "target=global", "instance=other", "reason=age", "error=500", "event=bad"} {
		r.admin("GET", "/admin/dead?"+none, "").is(t, 200, `{"letters":[],"total":0}`)
	}
}

func TestADeadLetterIsShownWithItsEventButNotItsKey(t *testing.T) {
	r := newRig(t)
	r.bury(t, 1)
	a := r.admin("GET", "/admin/dead/1", "")
	a.golden(t, "letter.json")
	if strings.Contains(a.text, "SECRET") {
		t.Errorf("%s shows the token", a.text)
	}
}

func TestAnIDWithoutADeadLetterIs404(t *testing.T) {
	r := newRig(t)
	r.bury(t, 1)
	for _, id := range []string{"7", "0", "-1", "x", "99999999999999999999"} {
		r.admin("GET", "/admin/dead/"+id, "").says(t, 404, "dead letter")
		r.admin("DELETE", "/admin/dead/"+id, "").says(t, 404, "dead letter")
		r.admin("POST", "/admin/dead/"+id+"/replay", "").says(t, 404, "dead letter")
	}
	r.hasLetters(t, 1)
}

func TestOneDeadLetterIsReplayedOrRemoved(t *testing.T) {
	r := newRig(t)
	r.bury(t, 3)
	r.hook.well.Store(true)
	r.admin("POST", "/admin/dead/2/replay", "").is(t, 200, `{"done":1,"total":1,"finished":true}`)
	if id := <-r.hook.got; id != "bad-001" {
		t.Errorf("replayed %s", id)
	}
	r.admin("DELETE", "/admin/dead/1", "").is(t, 200, `{"purged":1}`)
	r.admin("GET", "/admin/dead", "").says(t, 200, `{"letters":[{"id":3,`, `"total":1`)
}

func TestALargeReplayTellsOfItsProgress(t *testing.T) {
	r := newRig(t)
	r.bury(t, 120)
	r.hook.well.Store(true)
	var got []string
	err := r.replay(t, t.Context(), `{"sink":"hook","reason":"permanent"}`, func(p progress) { got = append(got, fmt.Sprint(p)) })
	want := "{50 120 false [] } {100 120 false [] } {120 120 false [] } {120 120 true [] }"
	if err != nil || strings.Join(got, " ") != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
	for i := range 120 {
		if id := <-r.hook.got; id != fmt.Sprintf("bad-%03d", i) {
			t.Fatalf("%s is the %d. to come", id, i)
		}
	}
}

func TestAReplayByIDsTellsWhichAreMissing(t *testing.T) {
	r := newRig(t)
	r.bury(t, 60)
	r.hook.well.Store(true)
	ids := "99"
	for i := range 60 {
		ids += fmt.Sprint(",", i+1)
	}
	var got []string
	err := r.replay(t, t.Context(), `{"ids":[`+ids+`]}`, func(p progress) { got = append(got, fmt.Sprint(p)) })
	if want := "{49 61 false [] } {60 60 true [99] }"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("%s, %v\nwant %s", got, err, want)
	}
}

func TestAReplayOfNothingIsFinished(t *testing.T) {
	newRig(t).admin("POST", "/admin/dead/replay", `{"all":true}`).is(t, 200, `{"done":0,"total":0,"finished":true}`+"\n")
}

// slowly has replays take a minute for 60 letters, one per second.
func slowly(c *core.Options, _ *httpapi.Options) { c.Delivery.ReplayRate = 1 }

func TestADrainEndsAReplayWhichSaysSo(t *testing.T) {
	r := newRig(t, slowly)
	r.bury(t, 60)
	drained := make(chan error, 1)
	var last progress
	var once sync.Once
	err := r.replay(t, t.Context(), `{"all":true}`, func(p progress) {
		last = p
		once.Do(func() { go func() { drained <- r.Drain(context.Background()) }() })
	})
	if err != nil || last.Done < 1 || last.Done >= 60 || last.Total != 60 || last.Finished || !strings.Contains(last.Error, "shutting down; replay again for the rest") {
		t.Errorf("the last line is %+v (%v)", last, err)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	r.hasLetters(t, 60) // those that were replayed have died again
}

// tiring is a store that fails with the second step of a replay.
type tiring struct {
	queue.Store
	steps int
}

func (s *tiring) Requeue(ctx context.Context, l bus.Lease, ids []int64, at time.Time) ([]queue.Requeued, error) {
	if s.steps++; s.steps > 1 {
		return nil, errors.New("disk full")
	}
	return s.Store.Requeue(ctx, l, ids, at)
}

func TestAReplayThatFailsInTheMiddleSaysSoInItsLastLine(t *testing.T) {
	r := newRig(t, func(c *core.Options, _ *httpapi.Options) { c.Queue = &tiring{Store: c.Queue} })
	r.bury(t, 60)
	r.hook.well.Store(true)
	var last progress
	if err := r.replay(t, t.Context(), `{"all":true}`, func(p progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if last.Done != 50 || last.Total != 60 || last.Finished || last.Error != "The engine failed and has not confirmed the request; try again" ||
		!strings.Contains(r.log.String(), "disk full") {
		t.Errorf("the last line is %+v, log: %s", last, r.log)
	}
	r.admin("POST", "/admin/dead/60/replay", "").says(t, 503, "The engine failed")
}

func TestAReplayGoesOnWhenItsRequestEnds(t *testing.T) {
	r := newRig(t, func(c *core.Options, _ *httpapi.Options) { c.Delivery.ReplayRate = 100 })
	r.bury(t, 60)
	r.hook.well.Store(true)
	ctx, hangUp := context.WithCancel(t.Context())
	err := r.replay(t, ctx, `{"all":true}`, func(progress) { hangUp() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the answer ended with %v", err)
	}
	r.hasLetters(t, 0)
	id := r.newestReplay(t)
	eventually(t, "the job to end", func() bool { return !strings.Contains(r.admin("GET", "/admin/replays/"+id, "").text, "running") })
	r.admin("GET", "/admin/replays/"+id, "").says(t, 200, `"state":"finished","done":60,"total":60,"finished":true`)
}

// newestReplay returns the id of the job that was started last.
func (r *rig) newestReplay(t *testing.T) string {
	t.Helper()
	var list struct{ Replays []struct{ ID string } }
	if a := r.admin("GET", "/admin/replays", ""); json.Unmarshal([]byte(a.text), &list) != nil || len(list.Replays) == 0 {
		t.Fatalf("answered %d %s", a.Code, a.text)
	}
	return list.Replays[0].ID
}

func TestAReplayIsStartedFollowedAndCancelledByItsID(t *testing.T) {
	r := newRig(t, audited)
	r.bury(t, 60)
	r.hook.well.Store(true)
	a := r.admin("POST", "/admin/dead/replay", `{"sink":"hook","rate":2,"wait":false}`)
	a.says(t, 202, `"state":"running"`, `"rate":2`, `"sink":"hook"`)
	id := r.newestReplay(t)
	if got := a.Header().Get("Location"); got != "/admin/replays/"+id {
		t.Errorf("Location is %q", got)
	}
	eventually(t, "a step", func() bool {
		return strings.Contains(r.admin("GET", a.Header().Get("Location"), "").text, `"total":60`)
	})
	followed := make(chan answer)
	go func() { followed <- r.admin("GET", "/admin/replays/"+id+"?follow=true", "") }()
	r.admin("DELETE", "/admin/replays/"+id, "").says(t, 200, `"state":"cancelled"`, `"finished":false`, `"error":"It was cancelled; replay again for the rest"`)
	lines := strings.Split(strings.TrimSpace((<-followed).text), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, `"error":"It was cancelled`) {
		t.Errorf("the last line is %s", last)
	}
	var end struct{ Done, Total int }
	if err := json.Unmarshal([]byte(r.admin("GET", "/admin/replays/"+id, "").text), &end); err != nil || end.Done < 1 || end.Done >= 60 || end.Total != 60 {
		t.Errorf("%+v, %v", end, err)
	}
	r.hasLettersBesideTheQueue(t, 60-end.Done) // the rest stays as it is
	r.admin("DELETE", "/admin/replays/"+id, "").says(t, 200, `"state":"cancelled"`)
	r.admin("GET", "/admin/replays/1", "").says(t, 404, "There is no replay 1 (any more)", "a restart of the server ends them")
	r.admin("POST", "/admin/dead/replay", `{"all":true,"rate":0}`).says(t, 400, `\"rate\" must be a number from 1 to 1000000`)
	for _, want := range []string{`"action":"replay.start"`, `"action":"replay.cancel"`, `"action":"replay.end"`} {
		if strings.Count(r.log.String(), want) != 1 {
			t.Errorf("the log has not one %s: %s", want, r.log)
		}
	}
}

func TestReplaysUnderWayAndKeptAreBounded(t *testing.T) {
	r := newRig(t)
	for range 60 {
		r.admin("POST", "/admin/dead/replay", `{"all":true}`).says(t, 200, `"finished":true`)
	}
	if n := strings.Count(r.admin("GET", "/admin/replays", "").text, `"id"`); n != 50 {
		t.Errorf("%d replays are kept, want 50", n)
	}
	r = newRig(t, slowly)
	r.bury(t, 20)
	for range 4 {
		r.admin("POST", "/admin/dead/replay", `{"all":true,"wait":false}`).says(t, 202)
	}
	r.admin("POST", "/admin/dead/replay", `{"all":true}`).says(t, 429, "4 replays are under way")
	r.admin("DELETE", "/admin/replays/"+r.newestReplay(t), "").says(t, 200, "cancelled")
	r.admin("POST", "/admin/dead/replay", `{"all":true,"wait":false}`).says(t, 202)
	if err := r.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := r.admin("GET", "/admin/replays", "").text; strings.Contains(text, "running") || strings.Count(text, "The server is shutting down") != 4 {
		t.Errorf("after the drain: %s", text)
	}
}

func TestAReplayOfAQueueThatHasStoppedIsRefused(t *testing.T) {
	r := newRig(t)
	r.bury(t, 1)
	if err := r.Hub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"/admin/dead/replay", "/admin/dead/1/replay"} {
		r.admin("POST", c, `{"all":true}`).says(t, 503, "The queue does not run: the server is starting or shutting down")
	}
}

func TestDeadLettersAreRemovedByFilter(t *testing.T) {
	r := newRig(t)
	r.bury(t, 3)
	r.admin("DELETE", "/admin/dead?event=bad-001", "").is(t, 200, `{"purged":1}`)
	r.admin("DELETE", "/admin/dead?all=true", "").is(t, 200, `{"purged":2}`)
}
