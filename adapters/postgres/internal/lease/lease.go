// Package lease shares the shards of a log among nodes, by rows of a table and the clock of the server.
//
// A lease belongs to the node that has its row, up to the time in it, with an epoch that grows with every change of
// hands. What its holder writes carries the epoch and is checked, in the transaction that writes, by the function fence,
// which also keeps the lease from changing hands until the commit.
package lease

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/postgres/internal/database"
	"github.com/evosink/evosink/core/bus"
)

// Leases are what one process sees and has of the leases in a database. Any number of goroutines may use them at once.
type Leases struct {
	db   *database.DB
	ttl  time.Duration
	self string // holds what was not acquired for a node, see [Leases.Hold]
	log  zerolog.Logger
	stop chan struct{}
	done chan struct{}

	mu sync.Mutex
	// mu guards the field below.
	held map[place]*Held // of this process, whichever name it took them by
}

type place struct {
	group string
	shard int
}

var _ bus.Leases = (*Leases)(nil)

// New returns the leases of a database, which last so long. self is a name that no other process has.
func New(db *database.DB, ttl time.Duration, self string, logger zerolog.Logger) *Leases {
	return &Leases{
		db: db, ttl: ttl, self: self, log: logger, stop: make(chan struct{}), done: make(chan struct{}), held: map[place]*Held{},
	}
}

// A Held is a lease that this process has. Its context ends when the lease does.
type Held struct {
	context.Context
	end   context.CancelFunc
	timer *time.Timer
	own   bool // taken by Hold, and renewed by run

	lease bus.Lease // guarded by Leases.mu
}

// TTL implements [bus.Leases].
func (s *Leases) TTL() time.Duration { return s.ttl }

// Changed implements [bus.Leases].
func (s *Leases) Changed() <-chan struct{} { return s.db.Bell.Rung(database.Leases) }

// Join implements [bus.Leases].
func (s *Leases) Join(ctx context.Context, node string) (alive []string, err error) {
	changed := false
	err = s.db.Leases.WriteEach(ctx, func(rows pgx.Rows) error {
		var name []byte
		var fresh bool
		err := rows.Scan(&name, &fresh)
		changed = changed || fresh
		alive = append(alive, string(name))
		return err
	}, `WITH dead AS (DELETE FROM @.nodes WHERE until <= clock_timestamp() AND node <> $1),
		here AS (INSERT INTO @.nodes AS n VALUES ($1, clock_timestamp() + $2 * interval '1 millisecond')
			ON CONFLICT (node) DO UPDATE SET until = excluded.until
			RETURNING NOT EXISTS (SELECT FROM @.nodes o WHERE o.node = $1 AND o.until > clock_timestamp()) AS fresh)
		SELECT $1, fresh FROM here
		UNION ALL SELECT node, false FROM @.nodes WHERE node <> $1 AND until > clock_timestamp()
		ORDER BY 1`, []byte(node), s.ttl.Milliseconds())
	if err != nil {
		return nil, err
	}
	if changed {
		s.db.Bell.Ring(database.Leases)
	}
	return alive, nil
}

// Leave implements [bus.Leases].
func (s *Leases) Leave(ctx context.Context, node string) error {
	gone, err := s.db.Leases.Write(ctx, "DELETE FROM @.nodes WHERE node = $1 RETURNING true", []any{[]byte(node)}, new(bool))
	if gone {
		s.db.Bell.Ring(database.Leases)
	}
	return err
}

// Held implements [bus.Leases]. They are in the order of the shards.
func (s *Leases) Held(ctx context.Context, group string) (all []bus.Lease, err error) {
	now := time.Now() // before the server looks at its own: a lease never seems longer than it is
	err = s.db.Leases.Each(ctx, func(rows pgx.Rows) error {
		l := bus.Lease{Group: group}
		var node []byte
		var remaining float64
		err := rows.Scan(&l.Shard, &node, &l.Epoch, &remaining)
		l.Node, l.Until = string(node), now.Add(millis(remaining))
		all = append(all, l)
		return err
	}, `SELECT shard, node, epoch, 1000 * extract(epoch FROM until - clock_timestamp())::double precision FROM @.leases
		WHERE grp = $1 AND node IS NOT NULL AND until > clock_timestamp() ORDER BY shard`, []byte(group))
	if err != nil {
		return nil, err
	}
	return all, nil
}

func millis(n float64) time.Duration { return time.Duration(n * float64(time.Millisecond)) }

// Acquire implements [bus.Leases].
func (s *Leases) Acquire(ctx context.Context, group string, shard int, node string) (l bus.Lease, ok bool, err error) {
	l = bus.Lease{Group: group, Shard: shard, Node: node}
	now := time.Now()
	var remaining float64
	ok, err = s.db.Leases.Write(ctx, "SELECT epoch, remaining FROM @.lease_acquire($1, $2, $3, $4)",
		[]any{[]byte(group), shard, []byte(node), s.ttl.Milliseconds()}, &l.Epoch, &remaining)
	if !ok || err != nil {
		return bus.Lease{}, false, err
	}
	l.Until = now.Add(millis(remaining))
	s.keep(l)
	return l, true, nil
}

// keep notes a lease of this process.
func (s *Leases) keep(l bus.Lease) *Held {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := place{l.Group, l.Shard}
	if h := s.held[at]; h != nil {
		if h.lease.Epoch == l.Epoch && h.Err() == nil {
			return h
		}
		h.timer.Stop()
		h.end()
	}
	h := &Held{lease: l, own: l.Node == s.self}
	h.Context, h.end = context.WithCancel(context.Background())
	h.timer = time.AfterFunc(time.Until(l.Until), func() { s.forget(h) })
	s.held[at] = h
	return h
}

// forget ends what this process makes of a lease.
func (s *Leases) forget(h *Held) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.timer.Stop()
	h.end()
	if at := (place{h.lease.Group, h.lease.Shard}); s.held[at] == h {
		delete(s.held, at)
	}
}

// Renew implements [bus.Leases].
func (s *Leases) Renew(ctx context.Context, leases ...bus.Lease) (renewed []bus.Lease, err error) {
	now := time.Now()
	var groups, nodes [][]byte
	var shards []int32
	var epochs []int64
	for _, l := range leases {
		groups, nodes = append(groups, []byte(l.Group)), append(nodes, []byte(l.Node))
		shards, epochs = append(shards, int32(l.Shard)), append(epochs, l.Epoch)
	}
	ended := slices.Clone(leases)
	err = s.db.Leases.WriteEach(ctx, func(rows pgx.Rows) error {
		var i int
		err := rows.Scan(&i)
		l := leases[i-1]
		l.Until = now.Add(s.ttl)
		renewed = append(renewed, l)
		ended = slices.DeleteFunc(ended, func(e bus.Lease) bool { return e.Group == l.Group && e.Shard == l.Shard })
		return err
	}, `WITH kept AS (
			UPDATE @.leases l SET until = clock_timestamp() + $5 * interval '1 millisecond'
			FROM unnest($1::bytea[], $2::integer[], $3::bytea[], $4::bigint[]) WITH ORDINALITY AS u(grp, shard, node, epoch, i)
			WHERE l.grp = u.grp AND l.shard = u.shard AND l.node = u.node AND l.epoch = u.epoch AND l.until > clock_timestamp()
			RETURNING u.i)
		SELECT i FROM kept ORDER BY i`, groups, shards, nodes, epochs, s.ttl.Milliseconds())
	if err != nil {
		return nil, err
	}
	for _, l := range renewed {
		s.extend(l)
	}
	for _, l := range ended {
		s.end(l)
	}
	return renewed, nil
}

func (s *Leases) extend(l bus.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.held[place{l.Group, l.Shard}]; h != nil && h.lease.Epoch == l.Epoch {
		h.lease = l
		h.timer.Reset(time.Until(l.Until))
	}
}

// end notes that this process has a lease no more.
func (s *Leases) end(l bus.Lease) {
	s.mu.Lock()
	h := s.held[place{l.Group, l.Shard}]
	s.mu.Unlock()
	if h != nil && h.lease.Epoch <= l.Epoch {
		s.forget(h)
	}
}

// Release implements [bus.Leases].
func (s *Leases) Release(ctx context.Context, l bus.Lease) error {
	var was bool
	_, err := s.db.Leases.Write(ctx, "SELECT @.lease_release($1, $2, $3, $4)",
		[]any{[]byte(l.Group), l.Shard, []byte(l.Node), l.Epoch}, &was)
	if err != nil {
		return err
	}
	s.end(l)
	if was {
		s.db.Bell.Ring(database.Leases)
	}
	return nil
}

// Hold returns the lease of a shard if this process has it: what was acquired for its node, or else one that is acquired
// for the process itself, and renewed until [Leases.Let]. ok is false if another process has it.
func (s *Leases) Hold(ctx context.Context, group string, shard int) (h *Held, ok bool, err error) {
	s.mu.Lock()
	h = s.held[place{group, shard}]
	s.mu.Unlock()
	if h != nil && h.Err() == nil {
		return h, true, nil
	}
	if _, ok, err = s.Acquire(ctx, group, shard, s.self); !ok || err != nil {
		return nil, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h = s.held[place{group, shard}]
	return h, h != nil, nil
}

// Let gives back what Hold has acquired for the process itself.
func (s *Leases) Let(ctx context.Context, h *Held) {
	if !h.own || h.Err() != nil {
		return
	}
	if err := s.Release(ctx, s.Of(h)); err != nil {
		s.forget(h)
		s.log.Debug().Err(err).Msg("a lease could not be given back; it ends by itself")
	}
}

// Of returns a lease as it is now.
func (s *Leases) Of(h *Held) bus.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	return h.lease
}

// Epoch returns the epoch of the lease that this process has of a shard, 0 if it has none.
func (s *Leases) Epoch(group string, shard int) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.held[place{group, shard}]; h != nil {
		return h.lease.Epoch
	}
	return 0
}

// Lost ends what this process makes of a lease that the database has refused.
func (s *Leases) Lost(group string, shard int, epoch int64) {
	s.end(bus.Lease{Group: group, Shard: shard, Epoch: epoch})
}

// Start begins to renew what the process holds for itself, until Close.
func (s *Leases) Start() { go s.run() }

func (s *Leases) run() {
	defer close(s.done)
	ticker := time.NewTicker(s.ttl / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.stop:
			return
		}
		var own []bus.Lease
		s.mu.Lock()
		for _, h := range s.held {
			if h.own {
				own = append(own, h.lease)
			}
		}
		s.mu.Unlock()
		if len(own) == 0 {
			continue
		}
		if _, err := s.Renew(context.Background(), own...); err != nil {
			s.log.Warn().Err(err).Msg("leases could not be renewed; what they are of is read on when they can be acquired again")
		}
	}
}

// Close ends run, and what this process makes of leases that are left: they end by themselves.
func (s *Leases) Close() {
	close(s.stop)
	<-s.done
	s.mu.Lock()
	left := make([]*Held, 0, len(s.held))
	for _, h := range s.held {
		left = append(left, h)
	}
	s.mu.Unlock()
	for _, h := range left {
		s.forget(h)
	}
}
