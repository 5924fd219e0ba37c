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
	puts := make([]put, len(entries)) // encoded here, where it does not take the writer's time
	w := &file.Write{Bytes: markBytes(marks)}
	n := 0
	for i, e := range entries {
		r := row.FromEvent(e.Event)
		puts[i] = put{Entry: e, row: r, size: queue.Size(e.Event)}
		w.Bytes += r.Size() + int64(len(e.To))*64
		n += len(e.To)
	}
	results = make([]queue.PutResult, n)
	var added pending
	w.Apply = func(t *file.Tx) error {
		clear(results)
		added = pending{store: s}
		rest := results
		for i := range puts {
			p := &puts[i]
			s.seq++
			p.seq, p.copied = s.seq, false
			p.results, rest = rest[:len(p.To)], rest[len(p.To):]
			if err := p.apply(t, &added); err != nil {
				return err
			}
		}
		return eventlog.SaveMarks(t, marks)
	}
	w.After = func() {
		added.commit()
		for i := range puts {
			if p := &puts[i]; p.Position == 0 {
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
	queue.Entry
	row  row.Row
	size int64 // see [queue.Size]

	// of the transaction, anew each time that it is tried
	seq     int64             // the one given out
	results []queue.PutResult // of the entry's destinations
	copied  bool              // stored as a copy
}

// What the column copy of queue_events says.
const (
	original = 0 // the event is remembered when it is delivered, and absorbed when it comes again
	copied   = 1 // it goes with its last delivery
)

// apply stores the event with a delivery for each destination. One with a position is not remembered. If another was
// put before, lanes that know it absorb it; for the others it is stored once more, because it has to be behind what
// waits there.
func (p *put) apply(t *file.Tx, added *pending) error {
	if p.Position > 0 {
		return p.deliverCopies(t, added)
	}
	list := make(laneList, 0, 16*len(p.To))
	for _, d := range p.To {
		list = list.add(d.Lane, p.seqOf(d))
	}
	fresh, err := p.insert(t, original, list)
	if err != nil {
		return err
	}
	if !fresh {
		return p.again(t, added)
	}
	for i := range p.To {
		if err := p.deliver(t, added, i); err != nil {
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

// insert stores the event, unless it is to be an original and was stored before.
func (p *put) insert(t *file.Tx, copy int, list laneList) (stored bool, err error) {
	e := p.Event
	r, err := t.Exec(`INSERT INTO queue_events (seq, instance, id, name, at, copy, lanes, metadata, payload)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		p.seq, e.Instance, e.ID, e.Name, p.At.UnixMilli(), copy, []byte(list), p.row.Metadata, p.row.Payload)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

// deliver stores the delivery of destination i, or a dead letter if it is refused.
func (p *put) deliver(t *file.Tx, added *pending, i int) error {
	d, e := p.To[i], p.Event
	p.results[i] = queue.PutResult{Seq: p.seqOf(d), New: true}
	if d.Refused == "" {
		return added.deliver(t, d.Lane, p.seq, p.size, d.Scope, d.Droppable)
	}
	_, err := t.Exec(insertDeadLetters+"VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, '', ?, ?, ?, ?)",
		d.Lane.Sink, string(d.Lane.Target), d.Lane.Instance, d.Lane.InstanceID, int(d.Scope), e.ID, e.Name, string(d.Refused),
		time.Now().UnixMilli(), p.size, p.row.Metadata, p.row.Payload)
	return err
}

// deliverCopies stores the deliveries of an event that is not remembered.
func (p *put) deliverCopies(t *file.Tx, added *pending) error {
	for i := range p.To {
		if err := p.deliverCopy(t, added, i); err != nil {
			return err
		}
	}
	return nil
}

// deliverCopy stores the delivery of destination i, and the event with the first delivery that is not refused.
func (p *put) deliverCopy(t *file.Tx, added *pending, i int) error {
	if !p.copied && p.To[i].Refused == "" {
		if _, err := p.insert(t, copied, laneList{}); err != nil {
			return err
		}
		p.copied = true
	}
	return p.deliver(t, added, i)
}

// again puts an event that was put before.
func (p *put) again(t *file.Tx, added *pending) error {
	e := p.Event
	var first int64
	var list []byte
	_, err := t.Row("SELECT seq, lanes FROM queue_events WHERE instance = ? AND id = ? AND copy = 0",
		[]any{e.Instance, e.ID}, &first, &list)
	if err != nil {
		return err
	}
	for i, d := range p.To {
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
		if err := p.deliverCopy(t, added, i); err != nil {
			return err
		}
		list = laneList(list).add(d.Lane, p.seqOf(d))
		if _, err := t.Exec("UPDATE queue_events SET lanes = ? WHERE seq = ?", list, first); err != nil {
			return err
		}
	}
	return nil
}
