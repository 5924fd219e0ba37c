package deliveries

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A lane is which deliveries wait in a lane: the index that the file does not have. It follows the commits. Any number
// of goroutines may use it at once.
type lane struct {
	id int64 // of the lane's row

	mu sync.Mutex
	// mu guards the field below.
	slots []slot // in order
}

// A slot is the seq of a waiting delivery, and in the lowest bit whether it may be dropped.
type slot int64

func (p slot) seq() int64      { return int64(p >> 1) }
func (p slot) droppable() bool { return p&1 == 1 }

// extent returns how many deliveries wait, how many of them may be dropped, and the seqs of the first and the last.
func (l *lane) extent() (waiting, droppable int, first, newest int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.slots)
	if n == 0 {
		return 0, 0, 0, 0
	}
	for _, p := range l.slots {
		droppable += int(p & 1)
	}
	return n, droppable, l.slots[0].seq(), l.slots[n-1].seq()
}

// find returns the index of the first slot with that seq or a larger one.
func (l *lane) find(seq int64) int {
	i, _ := slices.BinarySearch(l.slots, slot(seq<<1))
	return i
}

// between returns the first seqs with after < seq <= until, at most limit; if droppable is set, only of deliveries that
// may be dropped.
func (l *lane) between(after, until int64, limit int, droppable bool) (seqs []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.slots[l.find(after+1):] {
		if len(seqs) == limit || p.seq() > until {
			break
		}
		if p.droppable() || !droppable {
			seqs = append(seqs, p.seq())
		}
	}
	return seqs
}

func (l *lane) add(p slot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots = append(l.slots, p)
}

func (l *lane) remove(seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.find(seq)
	switch {
	case i == len(l.slots) || l.slots[i].seq() != seq:
	case len(l.slots) == 1:
		l.slots = nil
	case i == 0:
		l.slots = l.slots[1:]
	default:
		l.slots = slices.Delete(l.slots, i, i+1)
	}
}

// lane returns the index of a lane; nil if nothing was ever put there.
func (s *Store) lane(l queue.LaneKey) *lane {
	v, ok := s.lanes.Load(l)
	if !ok {
		return nil
	}
	return v.(*lane)
}

// loadLanes reads what waits in all of them. Lanes in which nothing waits are removed from the file: there is nothing
// to know about them.
func (s *Store) loadLanes(ctx context.Context, conn *sql.Conn) error {
	byID := map[int64]*lane{}
	// The deliveries are read without database/sql, which would double the time until a large backlog is open.
	err := conn.Raw(func(c any) error {
		rows, err := c.(driver.QueryerContext).QueryContext(ctx,
			"SELECT lane, seq << 1 | droppable FROM queue_deliveries ORDER BY seq", nil)
		if err != nil {
			return err
		}
		defer rows.Close()
		for row := make([]driver.Value, 2); ; {
			if err := rows.Next(row); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			id := row[0].(int64)
			l := byID[id]
			if l == nil {
				l = &lane{id: id}
				byID[id] = l
			}
			l.slots = append(l.slots, slot(row[1].(int64)))
		}
	})
	if err != nil {
		return err
	}
	rows, err := conn.QueryContext(ctx, "SELECT id, sink, target, instance, instance_id FROM queue_lanes")
	if err != nil {
		return err
	}
	defer rows.Close()
	var empty []int64
	for rows.Next() {
		var id int64
		var key queue.LaneKey
		if err := rows.Scan(&id, &key.Sink, &key.Target, &key.Instance, &key.InstanceID); err != nil {
			return err
		}
		if l := byID[id]; l != nil {
			s.lanes.Store(key, l)
		} else {
			empty = append(empty, id)
		}
	}
	if err := rows.Err(); err != nil || empty == nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "DELETE FROM queue_lanes WHERE id IN (SELECT value FROM json_each(?))",
		file.List(empty))
	return err
}

// pending is what a transaction adds to lanes, until it is committed.
type pending struct {
	store   *Store
	created map[queue.LaneKey]int64 // rows of lanes that the transaction has made, or found uncommitted
	added   []addition
}

type addition struct {
	key  queue.LaneKey
	lane *lane // nil if the delivery is the first of its lane
	slot
}

// row returns the id of the row of a lane that memory does not hold; it is made if there is none.
func (p *pending) row(t *file.Tx, l queue.LaneKey) (id int64, err error) {
	if id, ok := p.created[l]; ok {
		return id, nil
	}
	found, err := t.Row("SELECT id FROM queue_lanes WHERE sink = ? AND target = ? AND instance = ? AND instance_id = ?",
		[]any{l.Sink, string(l.Target), l.Instance, l.InstanceID}, &id)
	if err != nil {
		return 0, err
	}
	if !found {
		added, err := t.Exec("INSERT INTO queue_lanes (sink, target, instance, instance_id) VALUES (?, ?, ?, ?)",
			l.Sink, string(l.Target), l.Instance, l.InstanceID)
		if err != nil {
			return 0, err
		}
		if id, err = added.LastInsertId(); err != nil {
			return 0, err
		}
	}
	if p.created == nil {
		p.created = map[queue.LaneKey]int64{}
	}
	p.created[l] = id
	return id, nil
}

// deliver stores a delivery behind all others of its lane.
func (p *pending) deliver(t *file.Tx, l queue.LaneKey, seq, size int64, scope sink.Scope, droppable bool) error {
	lane, id, err := p.store.lane(l), int64(0), error(nil)
	if lane != nil {
		id = lane.id
	} else if id, err = p.row(t, l); err != nil {
		return err
	}
	at := slot(seq << 1)
	if droppable {
		at |= 1
	}
	_, err = t.Exec("INSERT INTO queue_deliveries (seq, lane, scope, droppable, size) VALUES (?, ?, ?, ?, ?)",
		seq, id, int(scope), int(at&1), size)
	p.added = append(p.added, addition{l, lane, at})
	return err
}

// commit brings the additions into memory. The writer calls it, in the order of the commits.
func (p *pending) commit() {
	for l, id := range p.created {
		p.store.lanes.LoadOrStore(l, &lane{id: id}) // another transaction of the same batch may have been first
	}
	for _, a := range p.added {
		if a.lane == nil {
			a.lane = p.store.lane(a.key)
		}
		a.lane.add(a.slot)
	}
}
