package file

import (
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// handmade is a clock whose wall and monotonic time a test moves.
type handmade struct {
	wall time.Time
	mono time.Duration
	*Clock
}

func newHandmade(last, wall time.Time) *handmade {
	h := &handmade{wall: wall}
	h.Clock = newClock(last, func() time.Time { return h.wall }, func() time.Duration { return h.mono }, zerolog.Nop())
	return h
}

// pass lets time pass on both clocks, with a look at the clock in every minute.
func (h *handmade) pass(d time.Duration) {
	for ; d > 0; d -= time.Minute {
		h.wall, h.mono = h.wall.Add(min(d, time.Minute)), h.mono+min(d, time.Minute)
		h.Now()
	}
}

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

const month = 30 * 24 * time.Hour

func (h *handmade) want(t *testing.T, want time.Time) {
	t.Helper()
	if d := h.Now().Sub(want).Abs(); d > time.Minute { // a thousandth of what passes in these tests is less
		t.Fatalf("the clock tells %v, want %v", h.Now(), want)
	}
}

func TestTheClockFollowsTimeThatPassesAndAClockThatIsSetBack(t *testing.T) {
	h := newHandmade(time.Time{}, noon)
	h.pass(5 * time.Hour)
	h.want(t, noon.Add(5*time.Hour))
	h.wall = noon.Add(-month)
	h.want(t, noon.Add(-month))
	h.pass(time.Hour)
	h.want(t, noon.Add(-month+time.Hour))
}

func TestAClockThatJumpsAheadForAMomentIsNotFollowed(t *testing.T) {
	h := newHandmade(time.Time{}, noon)
	h.wall = noon.Add(month)
	h.want(t, noon)
	h.pass(15 * time.Minute)
	h.want(t, noon.Add(15*time.Minute))
	h.wall = h.wall.Add(-month)
	h.want(t, noon.Add(15*time.Minute))
}

func TestAClockThatStaysAheadIsBelievedInTheEnd(t *testing.T) {
	h := newHandmade(time.Time{}, noon)
	h.wall = noon.Add(month)
	h.Now()
	h.pass(clockGrace - time.Hour)
	h.want(t, noon.Add(clockGrace-time.Hour))
	h.wall = h.wall.Add(month) // another jump begins anew
	h.Now()
	h.pass(clockGrace - time.Hour)
	h.want(t, noon.Add(2*clockGrace-2*time.Hour))
	h.pass(2 * time.Hour)
	h.want(t, noon.Add(2*month+2*clockGrace))
}

func TestAStartWithAClockFarAheadOfTheFileIsNotBelievedAtOnce(t *testing.T) {
	h := newHandmade(noon, noon.Add(month))
	h.want(t, noon)
	h.pass(time.Hour)
	h.want(t, noon.Add(time.Hour))
	h.pass(clockGrace)
	h.want(t, noon.Add(month+time.Hour+clockGrace))
	back := newHandmade(noon.Add(month), noon) // the file is from the future
	back.want(t, noon)
}

func TestSmallStepsOfTheClockDoNotAddUp(t *testing.T) {
	h := newHandmade(time.Time{}, noon)
	for range 24 * 60 {
		h.pass(time.Minute)
		h.wall = h.wall.Add(50 * time.Second)
	}
	if ahead := h.Now().Sub(noon.Add(24 * time.Hour)); ahead > 5*time.Minute {
		t.Fatalf("after a day the clock is %v ahead of it", ahead)
	}
}
