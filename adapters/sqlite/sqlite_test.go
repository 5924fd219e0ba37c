package sqlite_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/bustest"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/instances/storetest"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// nop is a logger that writes nothing.
var nop = zerolog.Nop()

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if call := os.Getenv(childLocks); call != "" {
			lockless(path, call)
			return
		}
		if os.Getenv(childQueue) != "" {
			queueChild(path)
			return
		}
		child(path) // a process of a test that kills it
		return
	}
	goleak.VerifyTestMain(m)
}

// newConfig returns a configuration for a file of the test's own.
func newConfig(t testing.TB) sqlite.Config {
	t.Helper()
	c := sqlite.DefaultConfig()
	c.Path = filepath.Join(t.TempDir(), "data", "evosink.db")
	return c
}

func open(t testing.TB, c sqlite.Config) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), c, nop)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeDB(t, db) })
	return db
}

func closeDB(t testing.TB, db *sqlite.DB) {
	t.Helper()
	if err := db.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestBus(t *testing.T) {
	for name, shards := range map[string]int{"16 shards": 16, "1 shard": 1} {
		t.Run(name, func(t *testing.T) {
			bustest.Run(t, bustest.Engine{
				TooLarge: 16 << 20,
				Features: bus.Features{
					Durable: true, Reopens: true, Backlog: true, AtomicBatches: true, Once: true, Positions: true, Replay: true,
					CursorWithQueue: true,
				},
				New: func(t *testing.T) bustest.Log {
					c := newConfig(t)
					c.Shards = shards
					return bustest.Log{
						Open: func(string) (bus.Bus, error) {
							return sqlite.Open(context.Background(), c, nop)
						},
						Events:  func(b bus.Bus) sink.Log { return b.(*sqlite.DB) },
						Foreign: publishForeign,
						Create: func(b bus.Bus, name string) error {
							_, err := b.(*sqlite.DB).PutInstance(t.Context(), instances.Instance{Name: name})
							return err
						},
						Delete: func(b bus.Bus, name string) error { return storetest.Delete(t.Context(), b.(*sqlite.DB), name) },
						Move:   func(b bus.Bus, to bus.Cursor) error { return moveCursor(t, b.(*sqlite.DB), to) },
						Retain: func(b bus.Bus) error { return b.(*sqlite.DB).Retain(t.Context(), time.Now().Add(2*week)) },
					}
				},
			})
		})
	}
}

// publishForeign publishes what carries no event. What cannot be decoded in the file itself has a test of its own.
func publishForeign(b bus.Bus, shard int) error {
	return b.Publisher().Publish(bus.Topic(shard), message.NewMessage("", []byte("not an event")))
}

// moveCursor moves a group's cursor by the queue's store.
func moveCursor(t *testing.T, db *sqlite.DB, to bus.Cursor) error {
	lease, _, err := db.Leases().Acquire(t.Context(), to.Group, to.Shard, "n1")
	if err != nil {
		return err
	}
	return db.Queue().Checkpoint(t.Context(), []bus.Lease{lease}, queue.Mark{Cursor: to})
}

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Engine{
		Durable: true,
		New: func(t *testing.T) storetest.Open {
			c := newConfig(t)
			return func() (instances.Store, func() error, error) {
				db, err := sqlite.Open(context.Background(), c, nop)
				if err != nil {
					return nil, nil, err
				}
				return db, func() error { return db.Close(context.Background()) }, nil
			}
		},
	})
}

func TestCloseGoesOnInTheBackgroundWhenItsContextEnds(t *testing.T) {
	db := open(t, newConfig(t))
	release := db.Hold()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Close(ctx); err == nil {
		t.Error("Close returned nil though the writer is busy")
	}
	release() // Close once more, at the end of the test, returns the outcome
}
