package sqlite_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// oldFile returns the configuration of a file that an older program wrote, with that version of the schema. The files
// of testdata have an instance shop, three events of it in the log and, from version 2 on, in the lane of its webhook;
// an event of an instance that is not registered for a global webhook; a dead letter with its attempt; and a pause.
func oldFile(t *testing.T, version int) sqlite.Config {
	t.Helper()
	packed, err := os.Open(fmt.Sprintf("testdata/version%d.db.gz", version))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	c := newConfig(t)
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.Path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFilesOfOlderVersionsAreUpgradedAndLoseNothing(t *testing.T) {
	for version := 1; version <= 3; version++ {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			c := oldFile(t, version)
			db := open(t, c)
			registry, err := instances.Open(t.Context(), db, "")
			if err != nil {
				t.Fatal(err)
			}
			shop, ok := registry.Get("shop")
			if !ok {
				t.Fatal("the instance is gone")
			}
			var entries int
			query(t, c, "SELECT count(*) FROM log WHERE instance = 'shop'", &entries)
			if entries != 3 {
				t.Errorf("the log has %d events, want 3", entries)
			}
			if version < 2 { // there was no queue yet
				return
			}
			wantOldQueue(t, db.Queue(), shop.ID)
		})
	}
}

func wantOldQueue(t *testing.T, q *sqlite.Queue, shop string) {
	t.Helper()
	lanes, err := q.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	waiting := map[queue.LaneKey]int{}
	for _, l := range lanes {
		waiting[l.LaneKey] = l.Waiting
	}
	own := queue.LaneKey{Sink: "webhook", Target: "instance", Instance: "shop", InstanceID: shop}
	gone := queue.LaneKey{Sink: "webhook", Target: "global", Instance: "gone"}
	if len(waiting) != 2 || waiting[own] != 3 || waiting[gone] != 1 {
		t.Errorf("lanes are %v, want 3 in %v and 1 in %v", waiting, own, gone)
	}
	window, err := q.Window(t.Context(), own, 0, 1<<62, 10, 1<<20)
	if err != nil || len(window) != 3 || window[0].Event.ID != "e0" || string(window[2].Event.Data) != `{"text":"hello"}` {
		t.Errorf("what waits is %+v, %v", window, err)
	}
	letters, err := q.DeadLetters(t.Context(), queue.DeadLetterFilter{}, queue.Page{})
	if err != nil || len(letters) != 1 || letters[0].EventID != "dead" || letters[0].Reason != queue.Permanent || letters[0].Scope != sink.Instance {
		t.Errorf("dead letters are %+v, %v", letters, err)
	}
	attempts, err := q.Attempts(t.Context(), "dead")
	if err != nil || len(attempts) != 1 || attempts[0].Error != "410" {
		t.Errorf("attempts are %+v, %v", attempts, err)
	}
	pauses, err := q.Pauses(t.Context())
	if err != nil || len(pauses) != 1 || pauses[0].Reason != "maintenance" {
		t.Errorf("pauses are %+v, %v", pauses, err)
	}
}
