package memory_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.uber.org/goleak"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/bustest"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/instances/storetest"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newEngine(t testing.TB, change ...func(*memory.Config)) *memory.Engine {
	t.Helper()
	c := memory.DefaultConfig()
	for _, f := range change {
		f(&c)
	}
	e, err := memory.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// features are what the engine declares.
var features = bus.Features{
	Reopens: true, Backlog: true, AtomicBatches: true, Once: true, Positions: true, Replay: true, CursorWithQueue: true, Nodes: true,
}

func TestBus(t *testing.T) {
	for name, shards := range map[string]int{"16 shards": 16, "1 shard": 1} {
		t.Run(name, func(t *testing.T) {
			bustest.Run(t, bustest.Engine{
				Features: features, TooLarge: 16 << 20,
				New: func(t *testing.T) bustest.Log {
					e := newEngine(t, func(c *memory.Config) { c.Shards = shards })
					return bustest.Log{
						Open:    func(string) (bus.Bus, error) { return e.Bus(), nil },
						Events:  func(bus.Bus) sink.Log { return e },
						Foreign: publishForeign,
						Create: func(_ bus.Bus, name string) error {
							_, err := e.PutInstance(t.Context(), instances.Instance{Name: name})
							return err
						},
						Delete: func(_ bus.Bus, name string) error { return storetest.Delete(t.Context(), e, name) },
						Move:   func(_ bus.Bus, to bus.Cursor) error { return moveCursor(t, e, to) },
						Retain: fill,
					}
				},
			})
		})
	}
}

// publishForeign publishes what carries no event: in memory there is no other way in.
func publishForeign(b bus.Bus, shard int) error {
	return b.Publisher().Publish(bus.Topic(shard), message.NewMessage("", []byte("not an event")))
}

// moveCursor moves a group's cursor by the queue's store.
func moveCursor(t *testing.T, e *memory.Engine, to bus.Cursor) error {
	lease, _, err := e.Leases().Acquire(t.Context(), to.Group, to.Shard, "n1")
	if err != nil {
		return err
	}
	return e.Queue().Checkpoint(t.Context(), []bus.Lease{lease}, queue.Mark{Cursor: to})
}

// fill publishes as much of another instance as the log holds, or as there is room for beside what readers need.
func fill(b bus.Bus) error {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	m := message.NewMessage("filler", make([]byte, 4<<20))
	for range memory.DefaultConfig().MaxBytes / len(m.Payload) {
		if _, err := b.Append(ctx, 0, bus.Entry{Message: m}); err != nil && !errors.Is(err, bus.ErrOverloaded) {
			return err
		}
	}
	return nil
}

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Engine{
		Durable: true, Nodes: true,
		New: func(t *testing.T) storetest.Open {
			e := newEngine(t)
			return func() (instances.Store, func() error, error) { return e, func() error { return nil }, nil }
		},
	})
}
