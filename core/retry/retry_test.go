package retry_test

import (
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evosink/evosink/core/retry"
)

func TestPausesDoubleUpToTheLongest(t *testing.T) {
	for _, c := range []struct {
		backoff retry.Backoff
		n       int
		want    time.Duration
	}{
		{retry.Backoff{First: 2, Longest: 9}, 0, 2},
		{retry.Backoff{First: 2, Longest: 9}, 1, 2},
		{retry.Backoff{First: 2, Longest: 9}, 3, 8},
		{retry.Backoff{First: 2, Longest: 9}, 4, 9},
		{retry.Backoff{First: 2, Longest: 9}, 1000, 9},
		{retry.Backoff{First: 9, Longest: 2}, 1, 2},
		{retry.Backoff{First: time.Hour, Longest: math.MaxInt64}, math.MaxInt, math.MaxInt64},
	} {
		if got := c.backoff.Pause(c.n); got != c.want {
			t.Errorf("%+v pauses for %d after %d failures, want %d", c.backoff, got, c.n, c.want)
		}
	}
}

func TestChanceTakesAwayNoMoreThanTheJitter(t *testing.T) {
	b := retry.Backoff{First: 1000, Longest: 1000, Jitter: 0.2}
	var all []time.Duration
	for range 1000 {
		all = append(all, b.Pause(1))
	}
	if low, high := slices.Min(all), slices.Max(all); low < 800 || high > 1000 || low > 850 || high < 950 {
		t.Errorf("pauses are from %d to %d, want 800 to 1000", low, high)
	}
}

func TestDoTriesUntilItSucceedsOrIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, begin, calls := retry.Backoff{First: time.Second, Longest: 3 * time.Second}, time.Now(), 0
		if !b.Do(nil, func() bool { calls++; return calls == 5 }) || time.Since(begin) != 9*time.Second {
			t.Errorf("five calls take %v, want 1+2+3+3 s", time.Since(begin))
		}
		done := make(chan struct{})
		time.AfterFunc(90*time.Second, func() { close(done) })
		if begin = time.Now(); b.Do(done, func() bool { return false }) || time.Since(begin) != 90*time.Second {
			t.Errorf("it ends after %v, want 90 s", time.Since(begin))
		}
	})
}
