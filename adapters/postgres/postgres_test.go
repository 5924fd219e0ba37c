package postgres_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/adapters/postgres"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/bustest"
	"github.com/evosink/evosink/core/bus/leasetest"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/instances/storetest"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
	"github.com/evosink/evosink/core/sink"
)

// features are what the engine declares.
var features = bus.Features{
	Durable: true, Reopens: true, Backlog: true, AtomicBatches: true, Once: true, Positions: true, Replay: true,
	CursorWithQueue: true, Nodes: true,
}

func TestBus(t *testing.T) {
	for name, shards := range map[string]int{"16 shards": 16, "1 shard": 1} {
		t.Run(name, func(t *testing.T) {
			bustest.Run(t, bustest.Engine{
				TooLarge: 16 << 20, Features: features,
				New: func(t *testing.T) bustest.Log {
					c := newConfig(t)
					c.Shards = shards
					return logOf(t, c)
				},
			})
		})
	}
}

// logOf returns the log of a schema.
func logOf(t *testing.T, c postgres.Config) bustest.Log {
	return bustest.Log{
		Open:    func(string) (bus.Bus, error) { return postgres.Open(context.Background(), c, nop) },
		Events:  func(b bus.Bus) sink.Log { return b.(*postgres.DB) },
		Foreign: publishForeign,
		Create: func(b bus.Bus, name string) error {
			_, err := b.(*postgres.DB).PutInstance(t.Context(), instances.Instance{Name: name})
			return err
		},
		Delete: func(b bus.Bus, name string) error { return storetest.Delete(t.Context(), b.(*postgres.DB), name) },
		Move:   func(b bus.Bus, to bus.Cursor) error { return move(t, b.(*postgres.DB), to) },
		Retain: func(b bus.Bus) error {
			sql(t, c, "UPDATE @.log_chunks SET opened = opened - interval '1 year'")
			if err := publishForeign(b, 0); err != nil { // opens another chunk
				return err
			}
			sql(t, c, "UPDATE @.log_chunks SET closed = closed - interval '1 year'")
			return b.(*postgres.DB).Retain(t.Context())
		},
	}
}

// publishForeign publishes what carries no event.
func publishForeign(b bus.Bus, shard int) error {
	return b.Publisher().Publish(bus.Topic(shard), message.NewMessage("", []byte("not an event")))
}

// move moves a cursor by the queue's store, with the lease that the group's subscription has, or one that is acquired.
func move(t *testing.T, db *postgres.DB, to bus.Cursor) error {
	lease, ok, err := db.Leases().Acquire(t.Context(), to.Group, to.Shard, "mover")
	if err != nil {
		return err
	}
	if !ok {
		held, err := db.Leases().Held(t.Context(), to.Group)
		if err != nil {
			return err
		}
		for _, l := range held {
			if l.Shard == to.Shard {
				lease = l
			}
		}
	}
	err = db.Queue().Checkpoint(t.Context(), []bus.Lease{lease}, queue.Mark{Cursor: to})
	if ok {
		err = errors.Join(err, db.Leases().Release(t.Context(), lease))
	}
	return err
}

func TestQueueKeepsTheContractOfStores(t *testing.T) {
	var mu sync.Mutex
	opened := map[queue.Store]func() *postgres.DB{} // what opens the store's database again
	one := func(t *testing.T, c postgres.Config) queue.Store {
		var db *postgres.DB
		open := func() *postgres.DB {
			if db != nil {
				closeDB(t, db)
			}
			db = open(t, c)
			return db
		}
		s := open().Queue()
		mu.Lock()
		defer mu.Unlock()
		opened[s] = open
		return s
	}
	queuetest.Run(t, queuetest.Subject{
		Open: func(t *testing.T) queue.Store { return one(t, newConfig(t)) },
		Reopen: func(t *testing.T, s queue.Store) queue.Store {
			mu.Lock()
			defer mu.Unlock()
			again := opened[s]
			next := again().Queue()
			opened[next] = again
			return next
		},
		Cursor: func(t *testing.T, s queue.Store, group string, shard int) int64 {
			marks, err := s.Marks(t.Context(), shard)
			if err != nil || len(marks) != 1 || marks[0].Cursor.Group != group {
				t.Fatalf("Marks: %+v, %v", marks, err)
			}
			return int64(marks[0].Cursor.Position)
		},
		Nodes: func(t *testing.T) queuetest.Nodes { return nodesOf(t, newConfig(t)) },
	})
}

// nodesOf returns the nodes of a schema.
func nodesOf(t *testing.T, c postgres.Config) queuetest.Nodes {
	c.LeaseTime = time.Hour // which passes by what the rows say
	return queuetest.Nodes{
		Open: func(string) (queue.Store, bus.Leases) {
			db := open(t, c)
			return db.Queue(), db.Leases()
		},
		Pass: func(d time.Duration) { pass(t, c, d) },
	}
}

// pass lets time pass for leases.
func pass(t *testing.T, c postgres.Config, d time.Duration) {
	t.Helper()
	for _, table := range []string{"leases", "nodes"} {
		sql(t, c, "UPDATE @."+table+" SET until = until - $1 * interval '1 second'", d.Seconds())
	}
}

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Engine{
		Durable: true, Nodes: true, New: func(t *testing.T) storetest.Open { return storeOf(newConfig(t)) },
	})
}

// storeOf returns what opens a node on a schema.
func storeOf(c postgres.Config) storetest.Open {
	return func() (instances.Store, func() error, error) {
		db, err := postgres.Open(context.Background(), c, nop)
		if err != nil {
			return nil, nil, err
		}
		return db, func() error { return db.Close(context.Background()) }, nil
	}
}

func TestLeases(t *testing.T) {
	leasetest.Run(t, func(t *testing.T) leasetest.Cluster {
		c := newConfig(t)
		c.LeaseTime = time.Hour // which passes by what the rows say
		writer := open(t, c).Queue()
		return leasetest.Cluster{
			Open: func(string) bus.Leases {
				db := open(t, c)
				awake(t, db)
				return db.Leases()
			},
			Pass: func(d time.Duration) { pass(t, c, d) },
			Write: func(l bus.Lease) error {
				return writer.Checkpoint(t.Context(), []bus.Lease{l}, queue.Mark{Cursor: bus.Cursor{Group: l.Group, Shard: l.Shard}})
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
