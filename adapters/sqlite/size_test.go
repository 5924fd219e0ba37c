package sqlite_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
)

// What the limits in bytes count is no less than what the file grows by, whatever the size of events.
func TestTheLimitsOfTheQueueCountNoLessThanTheDisk(t *testing.T) {
	for _, size := range []int{2, 300, 700, 1100, 1800, 2300, 3500, 3900, 4300, 5000, 7900, 50_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			c := newConfig(t)
			db, err := sqlite.Open(t.Context(), c, nop)
			if err != nil {
				t.Fatal(err)
			}
			closeDB(t, db)
			before := fileSize(t, c.Path)
			if db, err = sqlite.Open(t.Context(), c, nop); err != nil {
				t.Fatal(err)
			}
			leases := []bus.Lease{queuetest.Lease(db.Queue(), "sales")}
			counted := int64(0)
			for range max(1, 1_000_000/(size+500)/100) {
				var entries []queue.Entry
				for range 100 {
					e := &event.Event{
						ID: event.NewID(), Name: "messages.upsert", Instance: "sales", Time: time.Now(),
						Data: json.RawMessage(`"` + strings.Repeat("x", size-2) + `"`),
					}
					counted += queue.Size(e)
					entries = append(entries, queue.Entry{Event: e, At: time.Now(), To: []queue.Destination{ownLane("sales")}})
				}
				if _, err := db.Queue().Put(t.Context(), leases, nil, entries...); err != nil {
					t.Fatal(err)
				}
			}
			closeDB(t, db)
			if grown := fileSize(t, c.Path) - before; grown > counted+64<<10 {
				t.Errorf("the file has grown by %d bytes, counted were %d", grown, counted)
			} else if counted > 4*grown+64<<10 {
				t.Errorf("the file has grown by %d bytes only, counted were %d", grown, counted)
			}
		})
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
