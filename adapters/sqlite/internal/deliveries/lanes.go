package deliveries

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// A lineup is which deliveries wait in a lane: the index that the file does not have. It follows the commits.
type lineup struct {
	id int64 // of the lane's row

	mu sync.Mutex
	// mu guards the field below.
	places []place // in order
}

// A place is the seq of a delivery, and in the lowest bit whether it may be dropped.
type place int64

func placeOf(seq int64, droppable bool) place {
	if droppable {
		return place(seq<<1 | 1)
	}
	return place(seq << 1)
}

func (p place) seq() int64      { return int64(p >> 1) }
func (p place) droppable() bool { return p&1 == 1 }

func (l *lineup) extent() (waiting int, first, newest int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.places)
	if n == 0 {
		return 0, 0, 0
	}
	return n, l.places[0].seq(), l.places[n-1].seq()
}

// find returns the index of the first place with that seq or a larger one.
func (l *lineup) find(seq int64) int {
	i, _ := slices.BinarySearch(l.places, place(seq<<1))
	return i
}

// between returns the first seqs with after < seq <= until, at most limit.
func (l *lineup) between(after, until int64, limit int) (seqs []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.places[l.find(after+1):] {
		if len(seqs) == limit || p.seq() > until {
			break
		}
		seqs = append(seqs, p.seq())
	}
	return seqs
}

// choose returns the seqs of the deliveries that a clearing removes.
func (l *lineup) choose(c queue.PurgeRequest) (seqs []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.places[l.find(c.After+1):] {
		if len(seqs) == c.Max || p.seq() > c.Until {
			break
		}
		if p.droppable() || !c.Droppable {
			seqs = append(seqs, p.seq())
		}
	}
	return seqs
}

func (l *lineup) add(p place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places = append(l.places, p)
}

func (l *lineup) remove(seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.find(seq)
	switch {
	case i == len(l.places) || l.places[i].seq() != seq:
	case len(l.places) == 1:
		l.places = nil
	case i == 0:
		l.places = l.places[1:]
	default:
		l.places = slices.Delete(l.places, i, i+1)
	}
}

// lineup returns that of a lane; nil if nothing was ever put there.
func (q *Queue) lineup(l queue.LaneKey) *lineup {
	v, ok := q.lineups.Load(l)
	if !ok {
		return nil
	}
	return v.(*lineup)
}

// loadLineups reads all of them. Lanes in which nothing waits are removed from the file before: there is nothing to
// know about them.
func (q *Queue) loadLineups(ctx context.Context, conn *sql.Conn) error {
	byID, err := q.loadPlaces(ctx, conn)
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
		var l queue.LaneKey
		if err := rows.Scan(&id, &l.Sink, &l.Target, &l.Instance, &l.InstanceID); err != nil {
			return err
		}
		if line := byID[id]; line != nil {
			q.lineups.Store(l, line)
		} else {
			empty = append(empty, id)
		}
	}
	if err := rows.Err(); err != nil || empty == nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "DELETE FROM queue_lanes WHERE id IN (SELECT value FROM json_each(?))", jsonList(empty))
	return err
}

// loadPlaces reads them past database/sql, which would double the time until a large backlog is open.
func (q *Queue) loadPlaces(ctx context.Context, conn *sql.Conn) (byID map[int64]*lineup, err error) {
	byID = map[int64]*lineup{}
	err = conn.Raw(func(c any) error {
		rows, err := c.(driver.QueryerContext).QueryContext(ctx, "SELECT lane, seq << 1 | droppable FROM queue_deliveries ORDER BY seq", nil)
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
			id, p := row[0].(int64), place(row[1].(int64))
			line := byID[id]
			if line == nil {
				line = &lineup{id: id}
				byID[id] = line
			}
			line.places = append(line.places, p)
		}
	})
	return byID, err
}

// A roster gathers what a transaction adds to lineups, until it is committed.
type roster struct {
	queue *Queue
	fresh map[queue.LaneKey]int64 // rows of lanes that the transaction has made, or found uncommitted
	added []entrant
}

type entrant struct {
	queue.LaneKey
	place
}

// row returns the row of a lane, which is made if there is none.
func (r *roster) row(t *tx, l queue.LaneKey) (id int64, err error) {
	if line := r.queue.lineup(l); line != nil {
		return line.id, nil
	}
	if id, ok := r.fresh[l]; ok {
		return id, nil
	}
	found, err := t.row("SELECT id FROM queue_lanes WHERE sink = ? AND target = ? AND instance = ? AND instance_id = ?",
		[]any{l.Sink, string(l.Target), l.Instance, l.InstanceID}, &id)
	if err != nil {
		return 0, err
	}
	if !found {
		added, err := t.exec("INSERT INTO queue_lanes (sink, target, instance, instance_id) VALUES (?, ?, ?, ?)",
			l.Sink, string(l.Target), l.Instance, l.InstanceID)
		if err != nil {
			return 0, err
		}
		if id, err = added.LastInsertId(); err != nil {
			return 0, err
		}
	}
	if r.fresh == nil {
		r.fresh = map[queue.LaneKey]int64{}
	}
	r.fresh[l] = id
	return id, nil
}

// deliver stores a delivery behind all others of its lane.
func (r *roster) deliver(t *tx, l queue.LaneKey, seq int64, scope sink.Scope, droppable bool) error {
	id, err := r.row(t, l)
	if err != nil {
		return err
	}
	p := placeOf(seq, droppable)
	_, err = t.exec("INSERT INTO queue_deliveries (seq, lane, scope, droppable) VALUES (?, ?, ?, ?)", seq, id, int(scope), int(p&1))
	r.added = append(r.added, entrant{l, p})
	return err
}

// commit brings the additions into memory. The writer calls it, in the order of the commits.
func (r *roster) commit() {
	for l, id := range r.fresh {
		r.queue.lineups.LoadOrStore(l, &lineup{id: id}) // another transaction of the same batch may have been first
	}
	for _, e := range r.added {
		r.queue.lineup(e.LaneKey).add(e.place)
	}
}
