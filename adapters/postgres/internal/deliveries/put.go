package deliveries

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evosink/evosink/adapters/internal/row"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

// marks are the columns of marks.
type marks struct {
	groups    [][]byte
	shards    []int32
	positions []int64
	done      [][]byte
}

func columnsOfMarks(all []queue.Mark) (m marks) {
	for _, one := range all {
		m.groups, m.shards = append(m.groups, []byte(one.Cursor.Group)), append(m.shards, int32(one.Cursor.Shard))
		m.positions = append(m.positions, int64(one.Cursor.Position))
		m.done = append(m.done, append([]byte{}, one.Done...)) // NULL is a group that the queue has not marked
	}
	return m
}

// Checkpoint implements [queue.Store].
func (s *Store) Checkpoint(ctx context.Context, by []bus.Lease, all ...queue.Mark) error {
	l, m := columnsOf(by...), columnsOfMarks(all)
	var stale []int32
	_, err := s.db.Write(ctx, "SELECT @.queue_checkpoint($1, $2, $3, $4, $5, $6, $7)",
		[]any{l.groups, l.shards, l.epochs, m.groups, m.shards, m.positions, m.done}, &stale)
	if err != nil {
		return err
	}
	if err := l.refusal(stale); err != nil {
		return err
	}
	s.move(all)
	return nil
}

func (s *Store) move(all []queue.Mark) {
	for _, m := range all {
		s.moved(m.Cursor)
	}
}

// Marks implements [queue.Store].
func (s *Store) Marks(ctx context.Context, shards ...int) (out []queue.Mark, err error) {
	err = s.db.Each(ctx, func(rows pgx.Rows) error {
		var m queue.Mark
		var group, done []byte
		err := rows.Scan(&group, &m.Cursor.Shard, &m.Cursor.Position, &done)
		if m.Cursor.Group = string(group); len(done) > 0 {
			m.Done = append([]byte{}, done...)
		}
		out = append(out, m)
		return err
	}, "SELECT grp, shard, position, done FROM @.cursors WHERE done IS NOT NULL AND shard = ANY($1)",
		append([]int32{}, numbers(shards)...))
	if err != nil {
		return nil, err
	}
	return out, nil
}

// entries are the columns of entries, and of their destinations.
type entries struct {
	ids, names, metadata, payloads [][]byte
	at                             []time.Time
	placed                         []bool
	sizes                          []int64

	of, shards                                  []int32 // of: the place of the destination's entry, from 1
	sinks, targets, instances, records, reasons [][]byte
	scopes                                      []int16
	droppable                                   []bool
}

func (s *Store) columnsOfEntries(all []queue.Entry) *entries {
	c := &entries{}
	for i, e := range all {
		r := row.FromEvent(e.Event)
		c.ids, c.names = append(c.ids, []byte(r.ID)), append(c.names, []byte(e.Event.Name))
		c.metadata, c.payloads = append(c.metadata, r.Metadata), append(c.payloads, r.Payload)
		c.at, c.placed = append(c.at, e.At), append(c.placed, e.Position > 0)
		c.sizes = append(c.sizes, queue.Size(e.Event))
		for _, d := range e.To {
			l := laneOf(d.Lane)
			c.of, c.shards = append(c.of, int32(i+1)), append(c.shards, int32(bus.Shard(d.Lane.Instance, s.Shards())))
			c.sinks, c.targets = append(c.sinks, l.sink), append(c.targets, l.target)
			c.instances, c.records = append(c.instances, l.instance), append(c.records, l.record)
			c.reasons, c.scopes = append(c.reasons, []byte(d.Refused)), append(c.scopes, int16(d.Scope))
			c.droppable = append(c.droppable, d.Droppable)
		}
	}
	return c
}

// Put implements [queue.Store].
func (s *Store) Put(
	ctx context.Context, by []bus.Lease, all []queue.Mark, puts ...queue.Entry,
) (results []queue.PutResult, err error) {
	l, m, e := columnsOf(by...), columnsOfMarks(all), s.columnsOfEntries(puts)
	var stale []int32
	var seqs []int64
	var fresh []bool
	var pauses *int64
	_, err = s.db.Write(ctx, `SELECT stale, seqs, fresh, pauses FROM @.queue_put($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
			$13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)`,
		[]any{
			l.groups, l.shards, l.epochs, m.groups, m.shards, m.positions, m.done,
			e.ids, e.names, e.at, e.placed, e.sizes, e.metadata, e.payloads,
			e.of, e.shards, e.sinks, e.targets, e.instances, e.records, e.scopes, e.droppable, e.reasons,
		}, &stale, &seqs, &fresh, &pauses)
	if err != nil {
		return nil, err
	}
	if err := l.refusal(stale); err != nil {
		return nil, err
	}
	s.Know(*pauses)
	s.move(all)
	results = make([]queue.PutResult, len(seqs))
	for i := range seqs {
		results[i] = queue.PutResult{Seq: seqs[i], New: fresh[i]}
	}
	return results, nil
}
