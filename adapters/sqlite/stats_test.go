package sqlite_test

import (
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/sqlite"
)

func TestStatsTellWhatWasDoneAndWhatIsThere(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	if s := db.Stats(); s.Events != 0 || s.Bytes != 0 || !s.Oldest.IsZero() || s.Position != 0 {
		t.Fatalf("an empty log: %+v", s)
	}
	begin := time.Now().Truncate(time.Millisecond)
	publish(t, db, "a", 0, 3)
	s := db.Stats()
	if s.Published != 3 || s.Events != 3 || s.Position != 3 || s.Bytes < 3*1024 || s.Bytes > 4*1024 || s.Oldest.Before(begin) {
		t.Fatalf("after three events: %+v", s)
	}
	if s.Commits != 3 || s.Writes != 3 || s.Failures != 0 || s.CommitTime <= 0 {
		t.Fatalf("after three commits: %+v", s)
	}
	var counted uint64
	for _, n := range s.CommitTimes {
		counted += n
	}
	if counted != s.Commits {
		t.Fatalf("%d of %d commits are in the buckets %v of %v", counted, s.Commits, s.CommitTimes, sqlite.CommitBounds)
	}
	closeDB(t, db)
	again := open(t, c).Stats()
	if again.Published != 0 || again.Events != 3 || again.Bytes != s.Bytes || again.Position != 3 || !again.Oldest.Equal(s.Oldest) {
		t.Fatalf("after opening again: %+v, it was %+v", again, s)
	}
}

func TestWrongConfigurationsAreRefusedWithTheirKeys(t *testing.T) {
	err := sqlite.Config{MaxQueueBytes: -1, Retention: sqlite.Retention{Age: -1, Bytes: -1}}.Validate()
	for _, key := range []string{"path", "shards", "max_event_bytes", "max_queue_bytes", "retention.age", "retention.bytes"} {
		if err == nil || !strings.Contains(err.Error(), key+" must ") {
			t.Errorf("the error does not speak of %s: %v", key, err)
		}
	}
	if err := sqlite.DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}
