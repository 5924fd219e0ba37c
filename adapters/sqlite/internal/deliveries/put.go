package deliveries

import (
	"context"
	"time"

	"github.com/evosink/evosink/adapters/internal/row"
	"github.com/evosink/evosink/adapters/sqlite/internal/eventlog"
	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

// Put implements [queue.Store].
func (s *Store) Put(
	ctx context.Context, leases []bus.Lease, marks []queue.Mark, entries ...queue.Entry,
) (results []queue.PutResult, err error) {
	if err := fence(leases...); err != nil {
		return nil, err
	}
	puts := make([]put, len(entries))
	w := &file.Write{}
	n := 0
	for i, e := range entries {
		r := row.FromEvent(e.Event)
		puts[i] = put{store: s, entry: e, row: r, size: queue.Size(e.Event)}
		w.Bytes += r.Size() + int64(len(e.To))*64
		n += len(e.To)
	}
	results = make([]queue.PutResult, n)
	rest := results
	for i, e := range entries {
		puts[i].results, rest = rest[:len(e.To)], rest[len(e.To):]
	}
	w.Apply = func(t *file.Tx) error {
		for i := range puts {
			if err := puts[i].apply(t); err != nil {
				return err
			}
		}
		return eventlog.SaveMarks(t, marks)
	}
	w.After = func() {
		for i := range puts {
			p := &puts[i]
			p.pending.commit()
			if p.entry.Position == 0 {
				s.recent.add(p.seq, p.row.Size())
			}
		}
		s.moved(marks)
	}
	err = s.file.Write(ctx, w)
	return results, err
}

// A put is one entry on its way.
type put struct {
	store   *Store
	entry   queue.Entry
	row     row.Row
	size    int64             // see [queue.Size]
	results []queue.PutResult // of the entry's destinations

	// what apply has done, anew each time that it is called
	seq     int64 // the one given out
	pending pending
}

// apply stores the event with a delivery for each destination. If the event was put before, lanes that know it absorb
// it; for the others it is stored once more, because it has to be behind what waits there.
func (p *put) apply(t *file.Tx) error {
	p.store.seq++
	p.seq = p.store.seq
	clear(p.results)
	p.pending = pending{store: p.store}
	if p.entry.Position > 0 {
		return p.applyOnce(t)
	}
	list := make(laneList, 0, 16*len(p.entry.To))
	for _, d := range p.entry.To {
		list = list.add(d.Lane, p.seqOf(d))
	}
	fresh, err := p.insert(t, 0, list)
	if err != nil {
		return err
	}
	if !fresh {
		err = p.again(t)
	}
	for i := 0; fresh && err == nil && i < len(p.entry.To); i++ {
		err = p.deliver(t, i)
	}
	return err
}

// applyOnce stores the event and its deliveries, whatever was put before. Where all lanes refuse the event it is not
// stored.
func (p *put) applyOnce(t *file.Tx) error {
	stored := false
	for i, d := range p.entry.To {
		if !stored && d.Refused == "" {
			if _, err := p.insert(t, 1, laneList{}); err != nil {
				return err
			}
			stored = true
		}
		if err := p.deliver(t, i); err != nil {
			return err
		}
	}
	return nil
}

// seqOf returns the seq that a destination gets; 0 if its lane has refused the event.
func (p *put) seqOf(d queue.Destination) int64 {
	if d.Refused != "" {
		return 0
	}
	return p.seq
}

// insert stores the event, unless copy is 0 and it was stored before.
func (p *put) insert(t *file.Tx, copy int, list laneList) (stored bool, err error) {
	e := p.entry.Event
	r, err := t.Exec(`INSERT INTO queue_events (seq, instance, id, name, at, copy, lanes, metadata, payload)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		p.seq, e.Instance, e.ID, e.Name, p.entry.At.UnixMilli(), copy, []byte(list), p.row.Metadata, p.row.Payload)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

// deliver stores the delivery of destination i, or a dead letter if it is refused.
func (p *put) deliver(t *file.Tx, i int) error {
	d, e := p.entry.To[i], p.entry.Event
	p.results[i] = queue.PutResult{Seq: p.seqOf(d), New: true}
	if d.Refused == "" {
		return p.pending.deliver(t, d.Lane, p.seq, p.size, d.Scope, d.Droppable)
	}
	_, err := t.Exec(insertDeadLetters+"VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, '', ?, ?, ?, ?)",
		d.Lane.Sink, string(d.Lane.Target), d.Lane.Instance, d.Lane.InstanceID, int(d.Scope), e.ID, e.Name, string(d.Refused),
		time.Now().UnixMilli(), p.size, p.row.Metadata, p.row.Payload)
	return err
}

// again puts an event that was put before.
func (p *put) again(t *file.Tx) error {
	e := p.entry.Event
	var first int64
	var list []byte
	_, err := t.Row("SELECT seq, lanes FROM queue_events WHERE instance = ? AND id = ? AND copy = 0",
		[]any{e.Instance, e.ID}, &first, &list)
	if err != nil {
		return err
	}
	stored := false
	for i, d := range p.entry.To {
		if seq, known := laneList(list).find(d.Lane); known {
			waits, err := t.Row(`SELECT d.seq FROM queue_lanes l JOIN queue_deliveries d ON d.seq = ? AND d.lane = l.id
				WHERE l.sink = ? AND l.target = ? AND l.instance = ? AND l.instance_id = ?`,
				[]any{seq, d.Lane.Sink, string(d.Lane.Target), d.Lane.Instance, d.Lane.InstanceID}, &seq)
			if err != nil {
				return err
			}
			if waits {
				p.results[i].Seq = seq
			}
			continue
		}
		if !stored && d.Refused == "" {
			if _, err := p.insert(t, 1, laneList{}); err != nil {
				return err
			}
			stored = true
		}
		if err := p.deliver(t, i); err != nil {
			return err
		}
		list = laneList(list).add(d.Lane, p.seqOf(d))
		if _, err := t.Exec("UPDATE queue_events SET lanes = ? WHERE seq = ?", list, first); err != nil {
			return err
		}
	}
	return nil
}
