package uses_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evosink/evosink/core/uses"
)

func TestACounterWaitsForAllUsesAndBeginsNoneOnceClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c uses.Counter
		if err := c.Wait(t.Context()); err != nil || !c.Begin() || !c.Begin() {
			t.Fatal("an idle counter does not count")
		}
		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Wait(brief); !errors.Is(err, context.DeadlineExceeded) || c.Len() != 2 {
			t.Errorf("the wait for %d uses ends with %v", c.Len(), err)
		}
		c.Close()
		if c.Begin() {
			t.Error("a use begins after Close")
		}
		begin := time.Now()
		for i := range 2 {
			time.AfterFunc(time.Duration(i+1)*time.Minute, c.End)
		}
		var waits sync.WaitGroup
		for range 2 {
			waits.Go(func() {
				if err := c.Wait(t.Context()); err != nil || time.Since(begin) != 2*time.Minute {
					t.Errorf("the wait ends with %v after %v", err, time.Since(begin))
				}
			})
		}
		waits.Wait()
	})
}

func TestCountsTakeNoRoomForNothing(t *testing.T) {
	c := uses.Counts[string, int64]{}
	if c.Add("a", 3) != 3 || c.Add("a", -1) != 2 || c.Add("b", 0) != 0 || len(c) != 1 {
		t.Errorf("counts are %v", c)
	}
	if c.Add("a", -2) != 0 || len(c) != 0 {
		t.Errorf("counts are %v", c)
	}
}

func TestATableKeepsAValueForAsLongAsItsKeyIsInUse(t *testing.T) {
	made := 0
	table := uses.Table[string, int]{New: func() int { made++; return made }}
	first, second, other := table.Acquire("a"), table.Acquire("a"), table.Acquire("b")
	if first != 1 || second != 1 || other != 2 {
		t.Error("users of one key do not have one value")
	}
	table.Release("a")
	if table.Acquire("a") != 1 {
		t.Error("the value has gone before the last use of its key")
	}
	table.Release("a")
	table.Release("a")
	if table.Acquire("a") != 3 {
		t.Error("the value has outlived the last use of its key")
	}
}
