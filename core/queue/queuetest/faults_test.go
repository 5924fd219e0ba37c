package queuetest_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
)

// store is a store with the cursors that were moved through it; a fault changes what some of its methods do.
type store struct {
	queue.Store
	queue.Steering
	leases *bus.LocalLeases

	put     func(ctx context.Context, c putCall) ([]queue.PutResult, error)
	mark    func(ctx context.Context, l []bus.Lease, m []queue.Mark) error
	marks   func(ctx context.Context, shards []int) ([]queue.Mark, error)
	lanes   func(ctx context.Context, shards []int) ([]queue.Backlog, error)
	window  func(ctx context.Context, l queue.LaneKey, after, until int64, limit, bytes int) ([]queue.Delivery, error)
	record  func(ctx context.Context, l []bus.Lease, r []queue.Result) error
	purge   func(ctx context.Context, l bus.Lease, r queue.PurgeRequest) (queue.Purged, error)
	requeue func(ctx context.Context, l bus.Lease, ids []int64, at time.Time) ([]queue.Requeued, error)
	sweep   func(ctx context.Context, r queue.Retention) error
	erase   func(ctx context.Context, e bus.Erasure) (queue.Erased, error)
	letters func(ctx context.Context, f queue.DeadLetterFilter, p queue.Page) ([]queue.DeadLetter, error)
	pause   func(ctx context.Context, p queue.Pause) error

	revision func() int64
	jobs     func(ctx context.Context) ([]queue.Job, error)
	advance  func(ctx context.Context, l bus.Lease, id int64, count int, done bool) error
	delete   func(ctx context.Context, id int64) error

	crash func() // what a crash does; nil for nothing
}

// A putCall is what Put is called with.
type putCall struct {
	leases  []bus.Lease
	marks   []queue.Mark
	entries []queue.Entry
}

func (c putCall) put(ctx context.Context, to queue.Store) ([]queue.PutResult, error) {
	return to.Put(ctx, c.leases, c.marks, c.entries...)
}

func newStore(e *memory.Engine) *store {
	q := e.Queue()
	s := &store{
		Store: q, Steering: q, leases: e.Leases(),
		lanes:  func(ctx context.Context, shards []int) ([]queue.Backlog, error) { return q.Lanes(ctx, shards...) },
		mark:   func(ctx context.Context, l []bus.Lease, m []queue.Mark) error { return q.Checkpoint(ctx, l, m...) },
		marks:  func(ctx context.Context, shards []int) ([]queue.Mark, error) { return q.Marks(ctx, shards...) },
		window: q.Window, record: q.Record, purge: q.Purge, requeue: q.Requeue, sweep: q.Sweep, erase: q.Erase, letters: q.DeadLetters, pause: q.PutPause,
		revision: q.PausesRevision, jobs: q.Jobs, advance: q.AdvanceJob, delete: q.DeleteJob,
	}
	s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) { return c.put(ctx, q) }
	return s
}

func (s *store) Put(
	ctx context.Context, l []bus.Lease, m []queue.Mark, entries ...queue.Entry,
) ([]queue.PutResult, error) {
	return s.put(ctx, putCall{l, slices.Clone(m), slices.Clone(entries)})
}

func (s *store) Checkpoint(ctx context.Context, l []bus.Lease, m ...queue.Mark) error {
	return s.mark(ctx, l, slices.Clone(m))
}

func (s *store) Marks(ctx context.Context, shards ...int) ([]queue.Mark, error) {
	return s.marks(ctx, shards)
}

func (s *store) Lanes(ctx context.Context, shards ...int) ([]queue.Backlog, error) {
	return s.lanes(ctx, shards)
}

func (s *store) Window(ctx context.Context, l queue.LaneKey, after, until int64, limit, bytes int) ([]queue.Delivery, error) {
	return s.window(ctx, l, after, until, limit, bytes)
}

func (s *store) Record(ctx context.Context, l []bus.Lease, r []queue.Result) error {
	return s.record(ctx, l, slices.Clone(r))
}

func (s *store) Purge(ctx context.Context, l bus.Lease, r queue.PurgeRequest) (queue.Purged, error) {
	return s.purge(ctx, l, r)
}

func (s *store) Requeue(ctx context.Context, l bus.Lease, ids []int64, at time.Time) ([]queue.Requeued, error) {
	return s.requeue(ctx, l, ids, at)
}

func (s *store) Sweep(ctx context.Context, r queue.Retention) error { return s.sweep(ctx, r) }

func (s *store) Erase(ctx context.Context, e bus.Erasure) (queue.Erased, error) {
	return s.erase(ctx, e)
}

func (s *store) DeadLetters(ctx context.Context, f queue.DeadLetterFilter, p queue.Page) ([]queue.DeadLetter, error) {
	return s.letters(ctx, f, p)
}

func (s *store) PutPause(ctx context.Context, p queue.Pause) error { return s.pause(ctx, p) }

func (s *store) PausesRevision() int64 { return s.revision() }

func (s *store) Jobs(ctx context.Context) ([]queue.Job, error) { return s.jobs(ctx) }

func (s *store) AdvanceJob(ctx context.Context, l bus.Lease, id int64, count int, done bool) error {
	return s.advance(ctx, l, id, count, done)
}

func (s *store) DeleteJob(ctx context.Context, id int64) error { return s.delete(ctx, id) }

// current returns a lease as the shard's owner has it now: with it a stale one passes.
func (s *store) current(l bus.Lease) bus.Lease {
	held, _ := s.leases.Held(context.Background(), l.Group)
	for _, now := range held {
		if now.Shard == l.Shard {
			return now
		}
	}
	for epoch := range int64(100) {
		if s.leases.Fence(l.Group, l.Shard, epoch) == nil {
			l.Epoch = epoch
		}
	}
	return l
}

// currents are current of each.
func (s *store) currents(l []bus.Lease) (now []bus.Lease) {
	for _, l := range l {
		now = append(now, s.current(l))
	}
	return now
}

// subject is a memory engine with a fault.
func subject(fault func(*store), patience time.Duration) queuetest.Subject {
	open := func(t *testing.T, clock func() time.Time) (*store, *memory.Engine) {
		c := memory.DefaultConfig()
		c.LeaseTime, c.Clock = time.Minute, clock
		e, err := memory.New(c)
		if err != nil {
			t.Fatal(err)
		}
		s := newStore(e)
		fault(s)
		return s, e
	}
	return queuetest.Subject{
		Patience: patience,
		Open:     func(t *testing.T) queue.Store { s, _ := open(t, nil); return s },
		Reopen: func(_ *testing.T, s queue.Store) queue.Store {
			reopened := *s.(*store)
			if reopened.crash != nil {
				reopened.crash()
			}
			return &reopened
		},
		Cursor: func(t *testing.T, s queue.Store, group string, shard int) int64 {
			marks, err := s.Marks(t.Context(), shard)
			if err != nil || len(marks) != 1 || marks[0].Cursor.Group != group {
				t.Fatalf("marks: %+v, %v", marks, err)
			}
			return int64(marks[0].Cursor.Position)
		},
		Nodes: func(t *testing.T) queuetest.Nodes {
			var passed atomic.Int64
			begin := time.Now()
			s, e := open(t, func() time.Time { return begin.Add(time.Duration(passed.Load())) })
			return queuetest.Nodes{
				Open: func(string) (queue.Store, bus.Leases) { return s, e.Leases() },
				Pass: func(d time.Duration) { passed.Add(int64(d)) },
			}
		},
	}
}

func TestASoundStoreKeepsTheContract(t *testing.T) {
	queuetest.Run(t, subject(func(*store) {}, 0))
}

// faults are mistakes of stores and the rule that finds each.
var faults = map[string]struct {
	rule  string
	fault func(*store)
}{
	"gives windows backwards": {"what is put waits in its lanes, in order and unchanged", func(s *store) {
		s.window = func(ctx context.Context, l queue.LaneKey, after, until int64, limit, bytes int) ([]queue.Delivery, error) {
			w, err := s.Store.Window(ctx, l, after, until, limit, bytes)
			slices.Reverse(w)
			return w, err
		}
	}},
	"puts entries backwards": {"entries of one call are put in their order, each as if alone", func(s *store) {
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			slices.Reverse(c.entries)
			return c.put(ctx, s.Store)
		}
	}},
	"takes an event again": {"an event that comes again is absorbed, by lane and instance", func(s *store) {
		n := 0
		sound := s.put
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			for i := range c.entries {
				n++
				e := *c.entries[i].Event
				e.InstanceID, c.entries[i].Event = fmt.Sprint(n), &e
			}
			return sound(ctx, c)
		}
	}},
	"forgets what it has delivered": {"an event that comes again is absorbed after its delivery", func(s *store) {
		s.sweep = func(ctx context.Context, r queue.Retention) error {
			r.Seen = 0
			return s.Store.Sweep(ctx, r)
		}
	}},
	"takes an event from all lanes": {"an event stays until its last lane has delivered it", func(s *store) {
		s.record = func(ctx context.Context, l []bus.Lease, results []queue.Result) error {
			for _, r := range results {
				lanes, _ := s.Store.Lanes(ctx)
				for _, b := range lanes {
					if r.Lane = b.LaneKey; r.Kind == queue.Delivered {
						results = append(results, r)
					}
				}
			}
			return s.Store.Record(ctx, l, results)
		}
	}},
	"mixes instances of one name": {"a later instance of the name has lanes and dead letters of its own", func(s *store) {
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			for i := range c.entries {
				e := *c.entries[i].Event
				e.InstanceID, c.entries[i].Event = "", &e
			}
			return c.put(ctx, s.Store)
		}
	}},
	"loses what is refused": {"what is refused is a dead letter at once", func(s *store) {
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			to := c.entries[0].To
			c.entries[0].To = slices.DeleteFunc(slices.Clone(to), func(d queue.Destination) bool { return d.Refused != "" })
			places, err := c.put(ctx, s.Store)
			return append([]queue.PutResult{{New: true}}, places...)[:len(to)], err
		}
	}},
	"reads windows without bounds": {"a window is bounded and never empty when something waits", func(s *store) {
		s.window = func(ctx context.Context, l queue.LaneKey, after, until int64, limit, _ int) ([]queue.Delivery, error) {
			return s.Store.Window(ctx, l, after, until, limit, 1<<40)
		}
	}},
	"keeps no progress": {"attempts leave their progress, and only for the head", func(s *store) {
		s.record = func(ctx context.Context, l []bus.Lease, results []queue.Result) error {
			return s.Store.Record(ctx, l, slices.DeleteFunc(results, func(r queue.Result) bool { return r.Kind == queue.Retry }))
		}
	}},
	"buries what has gone": {"an outcome of what has gone changes nothing", func(s *store) {
		s.record = func(ctx context.Context, l []bus.Lease, results []queue.Result) error {
			for _, r := range results {
				if r.Kind == queue.DeadLettered {
					e := queue.Entry{Event: &event.Event{ID: fmt.Sprint("gone", r.Seq), Name: "x", Instance: r.Lane.Instance}, At: time.Now()}
					e.To = []queue.Destination{{Lane: r.Lane, Refused: queue.Full}}
					if _, err := s.Store.Put(ctx, l, nil, e); err != nil {
						return err
					}
				}
			}
			return s.Store.Record(ctx, l, results)
		}
	}},
	"purges more than it may": {"a lane is cleared within bounds", func(s *store) {
		s.purge = func(ctx context.Context, l bus.Lease, r queue.PurgeRequest) (queue.Purged, error) {
			r.Max = 1 << 30
			return s.Store.Purge(ctx, l, r)
		}
	}},
	"erases by name only": {"what is kept of an instance is erased", func(s *store) {
		s.erase = func(ctx context.Context, e bus.Erasure) (queue.Erased, error) {
			return s.Store.Erase(ctx, bus.Erasure{Instance: e.Instance})
		}
	}},
	"erases the present instance": {"what is kept of an instance is erased", func(s *store) {
		s.erase = func(ctx context.Context, e bus.Erasure) (queue.Erased, error) {
			e.Present = ""
			return s.Store.Erase(ctx, e)
		}
	}},
	"overlooks part of a filter": {"dead letters are listed, counted, shown and erased", func(s *store) {
		s.letters = func(ctx context.Context, f queue.DeadLetterFilter, p queue.Page) ([]queue.DeadLetter, error) {
			f.Reason = ""
			return s.Store.DeadLetters(ctx, f, p)
		}
	}},
	"requeues backwards": {"a dead letter is revived at the end of its lane, once", func(s *store) {
		s.requeue = func(ctx context.Context, l bus.Lease, ids []int64, at time.Time) ([]queue.Requeued, error) {
			ids = slices.Clone(ids)
			slices.Reverse(ids)
			return s.Store.Requeue(ctx, l, ids, at)
		}
	}},
	"loses answers": {"attempts are found by event", func(s *store) {
		s.record = func(ctx context.Context, l []bus.Lease, results []queue.Result) error {
			for i := range results {
				if a := results[i].Attempt; a != nil {
					less := *a
					less.Head, results[i].Attempt = nil, &less
				}
			}
			return s.Store.Record(ctx, l, results)
		}
	}},
	"pauses too much": {"pauses are kept by selector", func(s *store) {
		s.pause = func(ctx context.Context, p queue.Pause) error {
			p.Instance = ""
			return s.Store.PutPause(ctx, p)
		}
	}},
	"mixes pauses of instances of one name": {"pauses of an instance end with it", func(s *store) {
		s.pause = func(ctx context.Context, p queue.Pause) error {
			p.InstanceID = ""
			return s.Store.PutPause(ctx, p)
		}
	}},
	"keeps dead letters for ever": {"retention removes the oldest, never what waits", func(s *store) {
		s.sweep = func(ctx context.Context, r queue.Retention) error {
			r.Letters, r.LetterAge = 1<<30, 1<<62
			return s.Store.Sweep(ctx, r)
		}
	}},
	"removes the oldest dead letters, whose they are": {"dead letters of one instance push out no other's", func(s *store) {
		s.sweep = func(ctx context.Context, r queue.Retention) error {
			for {
				letters, err := s.Store.DeadLetters(ctx, queue.DeadLetterFilter{}, queue.Page{Limit: 1000})
				if err != nil || len(letters) <= r.Letters {
					return err
				}
				if _, err := s.Store.DeleteDeadLetters(ctx, queue.DeadLetterFilter{ID: letters[0].ID}, 1); err != nil {
					return err
				}
			}
		}
	}},
	"bounds dead letters in count alone": {"bytes of dead letters of one instance push out no other's", func(s *store) {
		s.sweep = func(ctx context.Context, r queue.Retention) error {
			r.LetterBytes = 0
			return s.Store.Sweep(ctx, r)
		}
	}},
	"tells marks of all shards": {"marks come back, by shard", func(s *store) {
		s.marks = func(ctx context.Context, _ []int) (all []queue.Mark, err error) {
			for shard := range s.Shards() {
				m, _ := s.Store.Marks(ctx, shard)
				all = append(all, m...)
			}
			return all, nil
		}
	}},
	"keeps the first list of what is done": {"a mark takes the place of the one before", func(s *store) {
		s.mark = func(ctx context.Context, l []bus.Lease, m []queue.Mark) error {
			return s.Store.Checkpoint(ctx, l, slices.DeleteFunc(m, func(m queue.Mark) bool {
				was, _ := s.Store.Marks(ctx, m.Cursor.Shard)
				return len(was) > 0 && was[0].Cursor == m.Cursor
			})...)
		}
	}},
	"takes the list of a mark that came late": {"a mark takes the place of the one before", func(s *store) {
		s.mark = func(ctx context.Context, l []bus.Lease, m []queue.Mark) error {
			for i := range m {
				if was, _ := s.Store.Marks(ctx, m[i].Cursor.Shard); len(was) > 0 {
					m[i].Cursor.Position = max(m[i].Cursor.Position, was[0].Cursor.Position)
				}
			}
			return s.Store.Checkpoint(ctx, l, m...)
		}
	}},
	"marks nothing in a Put": {"marks and entries of several shards are put in one call", func(s *store) {
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			return s.Store.Put(ctx, c.leases, nil, c.entries...)
		}
	}},
	"puts entries by shard": {"marks and entries of several shards are put in one call", func(s *store) {
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			slices.SortStableFunc(c.entries, func(a, b queue.Entry) int {
				return bus.Shard(b.Event.Instance, s.Shards()) - bus.Shard(a.Event.Instance, s.Shards())
			})
			return c.put(ctx, s.Store)
		}
	}},
	"absorbs what has a position": {"an entry with a position is put whatever was put before", func(s *store) {
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			for i := range c.entries {
				c.entries[i].Position = 0
			}
			return c.put(ctx, s.Store)
		}
	}},
	"remembers what has a position": {"an entry with a position is put whatever was put before", func(s *store) {
		placed := map[string]bool{}
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			e := c.entries[0]
			if e.Position == 0 && placed[e.Event.ID] {
				return make([]queue.PutResult, len(e.To)), nil
			}
			placed[e.Event.ID] = e.Position > 0
			return c.put(ctx, s.Store)
		}
	}},
	"refuses what has a position once": {"an entry with a position is a dead letter each time", func(s *store) {
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			for i := range c.entries {
				if c.entries[i].To[0].Refused != "" {
					c.entries[i].Position = 0
				}
			}
			return c.put(ctx, s.Store)
		}
	}},
	"overlooks contexts of checkpoints": {"a call whose context has ended writes nothing", func(s *store) {
		s.mark = func(ctx context.Context, l []bus.Lease, m []queue.Mark) error {
			return s.Store.Checkpoint(context.WithoutCancel(ctx), l, m...)
		}
	}},
	"overlooks contexts": {"a call whose context has ended writes nothing", func(s *store) {
		s.record = func(ctx context.Context, l []bus.Lease, results []queue.Result) error {
			return s.Store.Record(context.WithoutCancel(ctx), l, results)
		}
	}},
	"loses a write of those at once": {"calls at once neither lose nor reorder", func(s *store) {
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			if e := c.entries[0].Event; e.Instance == "instance-3" && e.ID == "e01" {
				return []queue.PutResult{{Seq: 1, New: true}}, nil
			}
			return c.put(ctx, s.Store)
		}
	}},
	"tells all lanes": {"lanes are told by shard", func(s *store) {
		s.lanes = func(ctx context.Context, _ []int) ([]queue.Backlog, error) { return s.Store.Lanes(ctx) }
	}},
	"puts with any epoch": {"a write with a stale epoch writes nothing", func(s *store) {
		sound := s.put
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			c.leases = s.currents(c.leases)
			return sound(ctx, c)
		}
	}},
	"checkpoints with any epoch": {"a write with a stale epoch writes nothing", func(s *store) {
		s.mark = func(ctx context.Context, l []bus.Lease, m []queue.Mark) error {
			return s.Store.Checkpoint(ctx, s.currents(l), m...)
		}
	}},
	"marks what it does not put": {"a write with a stale epoch writes nothing", func(s *store) {
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			s.Store.Checkpoint(ctx, s.currents(c.leases), c.marks...)
			return c.put(ctx, s.Store)
		}
	}},
	"puts the part that is not stale": {"a write with a stale epoch writes nothing", func(s *store) {
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			for _, lease := range c.leases[:len(c.leases)-1] {
				s.Store.Put(ctx, []bus.Lease{lease}, nil, slices.DeleteFunc(slices.Clone(c.entries), func(e queue.Entry) bool {
					return bus.Shard(e.Event.Instance, s.Shards()) != lease.Shard
				})...)
			}
			return c.put(ctx, s.Store)
		}
	}},
	"records with any epoch": {"a write with a stale epoch writes nothing", recordsAll},
	"purges with any epoch": {"a write with a stale epoch writes nothing", func(s *store) {
		s.purge = func(ctx context.Context, l bus.Lease, r queue.PurgeRequest) (queue.Purged, error) {
			return s.Store.Purge(ctx, s.current(l), r)
		}
	}},
	"requeues with any epoch": {"a write with a stale epoch writes nothing", func(s *store) {
		s.requeue = func(ctx context.Context, l bus.Lease, ids []int64, at time.Time) ([]queue.Requeued, error) {
			return s.Store.Requeue(ctx, s.current(l), ids, at)
		}
	}},
	"records the part that is not stale": {"a write with a stale epoch writes nothing", func(s *store) {
		s.record = func(ctx context.Context, l []bus.Lease, results []queue.Result) error {
			for _, lease := range l[:len(l)-1] {
				s.Store.Record(ctx, []bus.Lease{lease}, slices.DeleteFunc(slices.Clone(results), func(r queue.Result) bool {
					return bus.Shard(r.Lane.Instance, s.Shards()) != lease.Shard
				}))
			}
			return s.Store.Record(ctx, l, results)
		}
	}},
	"moves cursors back": {"the cursor moves with the marks", func(s *store) {
		marked := map[int]queue.Mark{}
		s.mark = func(_ context.Context, _ []bus.Lease, m []queue.Mark) error {
			for _, m := range m {
				marked[m.Cursor.Shard] = m
			}
			return nil
		}
		s.marks = func(_ context.Context, shards []int) (m []queue.Mark, err error) {
			for _, shard := range shards {
				m = append(m, marked[shard])
			}
			return m, nil
		}
	}},
	"forgets attempts in a crash": {"everything is there after a crash", func(s *store) {
		s.record = func(ctx context.Context, l []bus.Lease, results []queue.Result) error {
			for i := range results {
				results[i].Attempt = nil
			}
			return s.Store.Record(ctx, l, results)
		}
	}},

	"forgets marks in a crash": {"everything is there after a crash", func(s *store) {
		crashed := false
		s.crash = func() { crashed = true }
		s.marks = func(ctx context.Context, shards []int) ([]queue.Mark, error) {
			if crashed {
				return nil, nil
			}
			return s.Store.Marks(ctx, shards...)
		}
	}},
	"says that it has written marks": {"what is delivered at once is not stored, and the mark follows", func(s *store) {
		s.mark = func(context.Context, []bus.Lease, []queue.Mark) error { return nil }
	}},
	"puts an event into one of its lanes": {"what does not get through is stored once for all its lanes", func(s *store) {
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			var places []queue.PutResult
			for i, e := range c.entries {
				places = append(places, make([]queue.PutResult, len(e.To))...)
				c.entries[i].To = e.To[:1]
			}
			stored, err := c.put(ctx, s.Store)
			if err != nil {
				return nil, err
			}
			for i := range places {
				places[i] = queue.PutResult{Seq: stored[0].Seq + int64(i), New: true}
			}
			return places, nil
		}
	}},
	"keeps what was delivered": {"a lane that has caught up is not stored any more", func(s *store) {
		s.record = func(context.Context, []bus.Lease, []queue.Result) error { return nil }
	}},
	"writes one mark": {"while the store fails nothing is lost, and the log waits", func(s *store) {
		marked := false
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			if marked {
				c.marks = nil
			}
			marked = true
			return c.put(ctx, s.Store)
		}
		s.mark = func(ctx context.Context, l []bus.Lease, m []queue.Mark) error {
			if marked {
				return nil
			}
			marked = true
			return s.Store.Checkpoint(ctx, l, m...)
		}
	}},
	"forgets what is done when a process ends": {"what the log answers for at a clean end goes on", forgetsDone},
	"forgets what is done behind cursors":      {"a kill between any two steps loses nothing", forgetsDone},
	"marks before it puts": {"a kill between any two steps loses nothing", func(s *store) {
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			for i := range c.marks {
				c.marks[i].Cursor.Position = max(c.marks[i].Cursor.Position, c.entries[len(c.entries)-1].Position)
			}
			return c.put(ctx, s.Store)
		}
	}},

	"forgets what is done when a log changes hands": {"a shard of a log is handed over", forgetsDone},
	"forgets how far a dead node was":               {"of a log that a dead node has read nothing is lost", forgetsMarks},
	"takes what a frozen node marks": {"a node that was frozen with events of a log marks nothing", func(s *store) {
		s.mark = func(ctx context.Context, l []bus.Lease, m []queue.Mark) error {
			return s.Store.Checkpoint(ctx, s.currents(l), m...)
		}
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			c.leases = s.currents(c.leases)
			return c.put(ctx, s.Store)
		}
	}},
	"hides lanes that back off": {"a shard that is handed over goes on elsewhere", func(s *store) {
		s.lanes = func(ctx context.Context, shards []int) ([]queue.Backlog, error) {
			lanes, err := s.Store.Lanes(ctx, shards...)
			return slices.DeleteFunc(lanes, func(b queue.Backlog) bool { return b.Head.Attempts > 0 }), err
		}
	}},
	"writes results late": {"a shard that is handed over goes on elsewhere", func(s *store) {
		s.record = func(ctx context.Context, _ []bus.Lease, results []queue.Result) error {
			go func() { // ends after a moment
				time.Sleep(20 * time.Millisecond)
				var l []bus.Lease
				for _, r := range results {
					l = append(l, s.current(bus.Lease{Group: "dispatch", Shard: bus.Shard(r.Lane.Instance, s.Shards())}))
				}
				s.Store.Record(context.Background(), l, results)
			}()
			return nil
		}
	}},
	"loses progress": {"of a node that dies only what was in flight comes twice", func(s *store) {
		s.lanes = func(ctx context.Context, shards []int) ([]queue.Backlog, error) {
			lanes, err := s.Store.Lanes(ctx, shards...)
			if len(shards) > 0 {
				for i := range lanes {
					lanes[i].Head = queue.Progress{}
				}
			}
			return lanes, err
		}
	}},
	"takes what a frozen node records": {"a node that was frozen writes no result any more", recordsAll},
	"takes what a frozen node puts": {"a node that was frozen puts nothing any more", func(s *store) {
		sound := s.put
		s.put = func(ctx context.Context, c putCall) ([]queue.PutResult, error) {
			c.leases = s.currents(c.leases)
			return sound(ctx, c)
		}
	}},
	"takes what an old lease records": {"a lease that was released or has ended writes nothing", recordsAll},
	"forgets marks with their owner":  {"a shard's marks are there for its next owner", forgetsMarks},
	"advances jobs with any epoch": {"a lease that was released or has ended writes nothing", func(s *store) {
		s.advance = func(ctx context.Context, l bus.Lease, id int64, count int, done bool) error {
			return s.Steering.AdvanceJob(ctx, s.current(l), id, count, done)
		}
	}},
	"counts an attempt that was cut off": {"what a node does not hold it neither takes nor counts", func(s *store) {
		s.lanes = func(ctx context.Context, shards []int) ([]queue.Backlog, error) {
			lanes, err := s.Store.Lanes(ctx, shards...)
			for i := range lanes {
				lanes[i].Head.Attempts++
			}
			return lanes, err
		}
	}},
	"answers before results are written": {"a release waits for what is under way", func(s *store) {
		s.record = func(context.Context, []bus.Lease, []queue.Result) error { return nil }
	}},
	"counts an attempt that never ended": {"a release waits for what is under way", func(s *store) {
		s.lanes = func(ctx context.Context, shards []int) ([]queue.Backlog, error) {
			lanes, err := s.Store.Lanes(ctx, shards...)
			for i := range lanes {
				lanes[i].Head.Attempts++
			}
			return lanes, err
		}
	}},
	"takes what it does not store": {"nothing begins when a lease has ended", func(s *store) {
		s.put = func(_ context.Context, c putCall) ([]queue.PutResult, error) {
			return make([]queue.PutResult, len(c.entries[0].To)), nil
		}
	}},
	"keeps changes of pauses to itself": {"a pause holds lanes on every node, and ends on every node", func(s *store) {
		s.revision = func() int64 { return 0 }
	}},
	"does not tell the end of a pause": {"a pause holds lanes on every node, and ends on every node", func(s *store) {
		var set atomic.Int64
		s.revision = set.Load
		s.pause = func(ctx context.Context, p queue.Pause) error {
			err := s.Store.PutPause(ctx, p)
			set.Add(1)
			return err
		}
	}},
	"shows no jobs for purges": {"a purge reaches the lanes of other nodes", func(s *store) {
		s.jobs = func(ctx context.Context) ([]queue.Job, error) {
			jobs, err := s.Steering.Jobs(ctx)
			for i := range jobs {
				for p := range jobs[i].Parts {
					jobs[i].Parts[p].Done = true
				}
			}
			return jobs, err
		}
	}},
	"miscounts jobs": {"a requeue reaches the dead letters of other nodes", func(s *store) {
		s.advance = func(ctx context.Context, l bus.Lease, id int64, _ int, done bool) error {
			return s.Steering.AdvanceJob(ctx, l, id, 0, done)
		}
	}},
	"goes on with jobs that were ended": {"a requeue ends with its context, on every node", func(s *store) {
		s.delete = func(context.Context, int64) error { return nil }
	}},
	"forgets jobs of a lease that has ended": {"a job outlives the node that was to do it", func(s *store) {
		s.jobs = func(ctx context.Context) ([]queue.Job, error) {
			jobs, err := s.Steering.Jobs(ctx)
			for i := range jobs {
				for p := range jobs[i].Parts {
					l := s.current(bus.Lease{Group: "dispatch", Shard: jobs[i].Parts[p].Shard})
					jobs[i].Parts[p].Done = jobs[i].Parts[p].Done || l.Epoch > 1
				}
			}
			return jobs, err
		}
	}},
}

// forgetsMarks is the fault of a store that has no marks for another owner than the one that wrote them.
func forgetsMarks(s *store) {
	epochs := map[int]int64{}
	s.mark = func(ctx context.Context, l []bus.Lease, m []queue.Mark) error {
		for _, l := range l {
			epochs[l.Shard] = l.Epoch
		}
		return s.Store.Checkpoint(ctx, l, m...)
	}
	s.marks = func(ctx context.Context, shards []int) ([]queue.Mark, error) {
		m, err := s.Store.Marks(ctx, shards...)
		return slices.DeleteFunc(m, func(m queue.Mark) bool {
			return s.current(bus.Lease{Group: m.Cursor.Group, Shard: m.Cursor.Shard}).Epoch != epochs[m.Cursor.Shard]
		}), err
	}
}

// forgetsDone is the fault of a store that tells of marks no more than their cursors.
func forgetsDone(s *store) {
	s.marks = func(ctx context.Context, shards []int) ([]queue.Mark, error) {
		m, err := s.Store.Marks(ctx, shards...)
		for i := range m {
			m[i].Done = nil
		}
		return m, err
	}
}

func recordsAll(s *store) {
	s.record = func(ctx context.Context, l []bus.Lease, results []queue.Result) error {
		for i := range l {
			l[i] = s.current(l[i])
		}
		return s.Store.Record(ctx, l, results)
	}
}

const faultVariable = "QUEUETEST_FAULT"

// TestFaultyStore is what TestEveryFaultIsFound runs in a process of its own.
func TestFaultyStore(t *testing.T) {
	f, ok := faults[os.Getenv(faultVariable)]
	if !ok {
		t.Skip("runs as a child of TestEveryFaultIsFound")
	}
	queuetest.Run(t, subject(f.fault, 3*time.Second))
}

func TestEveryFaultIsFound(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		rule := strings.ReplaceAll(faults[name].rule, " ", "_")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(self, "-test.run=^TestFaultyStore$/^"+regexp.QuoteMeta(rule), "-test.timeout=60s")
			cmd.Env = append(os.Environ(), faultVariable+"="+name)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestFaultyStore/"+rule) {
				t.Fatalf("rule %s did not fail: %v\n%s", rule, err, out)
			}
			if strings.Contains(string(out), "panic:") {
				t.Fatalf("the failure does not explain itself:\n%s", out)
			}
		})
	}
}

// TestEveryRuleHasAFault fails for a rule of the suite that no fault shows to be able to fail.
func TestEveryRuleHasAFault(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(self, "-test.run=^TestASoundStoreKeepsTheContract$", "-test.timeout=120s", "-test.v").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rules := regexp.MustCompile(`--- PASS: TestASoundStoreKeepsTheContract/([^/\s]+) `).FindAllSubmatch(out, -1)
	if len(rules) < 30 {
		t.Errorf("the suite has %d rules", len(rules))
	}
	for _, rule := range rules {
		found := false
		for _, f := range faults {
			found = found || strings.HasPrefix(string(rule[1]), strings.ReplaceAll(f.rule, " ", "_"))
		}
		if !found {
			t.Errorf("no fault for the rule %s", rule[1])
		}
	}
}
