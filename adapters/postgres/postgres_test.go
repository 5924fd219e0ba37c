package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/adapters/postgres"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/bustest"
	"github.com/evosink/evosink/core/bus/leasetest"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/instances/storetest"
	"github.com/evosink/evosink/core/sink"
)

func TestBus(t *testing.T) {
	bustest.Run(t, bustest.Engine{
		TooLarge: 16 << 20,
		Features: bus.Features{
			Durable: true, Reopens: true, Backlog: true, AtomicBatches: true, Once: true, Positions: true, Replay: true,
			CursorWithQueue: true, Nodes: true,
		},
		New: func(t *testing.T) bustest.Log {
			c := newConfig(t)
			return bustest.Log{
				Open:    func(string) (bus.Bus, error) { return postgres.Open(context.Background(), c, nop) },
				Events:  func(b bus.Bus) sink.Log { return b.(*postgres.DB) },
				Foreign: publishForeign,
				Create: func(b bus.Bus, name string) error {
					_, err := b.(*postgres.DB).PutInstance(t.Context(), instances.Instance{Name: name})
					return err
				},
				Delete: func(b bus.Bus, name string) error { return storetest.Delete(t.Context(), b.(*postgres.DB), name) },
				Move: func(_ bus.Bus, to bus.Cursor) error {
					sql(t, c, "UPDATE @.cursors SET position = greatest(position, $3) WHERE grp = $1 AND shard = $2",
						[]byte(to.Group), to.Shard, int64(to.Position))
					return nil
				},
				Retain: func(b bus.Bus) error {
					sql(t, c, "UPDATE @.log_head SET opened = opened - interval '1 year'")
					if err := publishForeign(b, 0); err != nil { // opens another chunk
						return err
					}
					sql(t, c, "UPDATE @.log_chunks SET closed = closed - interval '1 year'")
					return b.(*postgres.DB).Retain(t.Context())
				},
			}
		},
	})
}

// publishForeign publishes what carries no event.
func publishForeign(b bus.Bus, shard int) error {
	return b.Publisher().Publish(bus.Topic(shard), message.NewMessage("", []byte("not an event")))
}

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Engine{
		Durable: true, Nodes: true,
		New: func(t *testing.T) storetest.Open {
			c := newConfig(t)
			return func() (instances.Store, func() error, error) {
				db, err := postgres.Open(context.Background(), c, nop)
				if err != nil {
					return nil, nil, err
				}
				return db, func() error { return db.Close(context.Background()) }, nil
			}
		},
	})
}

func TestLeases(t *testing.T) {
	leasetest.Run(t, func(t *testing.T) leasetest.Cluster {
		c := newConfig(t)
		c.LeaseTime = time.Hour // which passes by what the rows say
		return leasetest.Cluster{
			Open: func(string) bus.Leases {
				db := open(t, c)
				awake(t, db)
				return db.Leases()
			},
			Pass: func(d time.Duration) {
				for _, table := range []string{"leases", "nodes"} {
					sql(t, c, "UPDATE @."+table+" SET until = until - $1 * interval '1 second'", d.Seconds())
				}
			},
		}
	})
}

// awake waits until rings of other nodes arrive: a node looks by itself before that.
func awake(t testing.TB, db *postgres.DB) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !db.Hears(); {
		if time.Now().After(deadline) {
			t.Fatal("the server's notifications do not arrive")
		}
		time.Sleep(time.Millisecond)
	}
}
