package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/core"
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

// slowly has replays take an hour for their second step.
func slowly(c *core.Options, _ *httpapi.Options) { c.Delivery.ReplayRate = 1 }

func TestADrainEndsAReplayWhichSaysSo(t *testing.T) {
	r := newRig(t, slowly)
	r.bury(t, 60)
	drained := make(chan error, 1)
	var last progress
	err := r.replay(t, t.Context(), `{"all":true}`, func(p progress) {
		if last = p; p.Error == "" {
			go func() { drained <- r.Drain(context.Background()) }()
		}
	})
	if err != nil || last.Done != 50 || last.Total != 60 || last.Finished || !strings.Contains(last.Error, "shutting down; replay again for the rest") {
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

func (s *tiring) Revive(ctx context.Context, ids []int64, at time.Time) ([]queue.Revived, error) {
	if s.steps++; s.steps > 1 {
		return nil, errors.New("disk full")
	}
	return s.Store.Revive(ctx, ids, at)
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

func TestAReplayEndsWithItsRequest(t *testing.T) {
	r := newRig(t, slowly)
	r.bury(t, 60)
	r.hook.well.Store(true)
	ctx, hangUp := context.WithCancel(t.Context())
	err := r.replay(t, ctx, `{"all":true}`, func(progress) { hangUp() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the answer ended with %v", err)
	}
	if err := r.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	r.hasLettersBesideTheQueue(t, 10)
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
