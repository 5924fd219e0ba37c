package deliveries

import (
	"context"
	"time"

	"github.com/evosink/evosink/core/queue"
)

// Put implements [queue.Store].
func (q *Queue) Put(ctx context.Context, entries ...queue.Entry) (places []queue.PutResult, err error) {
	all := make([]*putting, len(entries))
	var bytes int64
	for i, e := range entries {
		s := encodeEvent(e.Event)
		all[i] = &putting{Queue: q, entry: e, event: s}
		bytes += s.bytes() + int64(len(e.To))*64
	}
	err = q.write(ctx, &write{
		bytes: bytes,
		apply: func(t *tx) error {
			for _, p := range all {
				if err := p.apply(t); err != nil {
					return err
				}
			}
			return nil
		},
		after: func() {
			for _, p := range all {
				p.after()
			}
		},
	})
	for _, p := range all {
		places = append(places, p.places...)
	}
	return places, err
}

// putting is an entry on its way.
type putting struct {
	*Queue
	entry queue.Entry
	event storedEvent

	// what apply has done, anew each time that it is called
	places []queue.PutResult
	roster roster
	last   int64 // the seq given out
}

func (p *putting) apply(t *tx) error {
	p.places = make([]queue.PutResult, len(p.entry.To))
	p.roster = roster{queue: p.Queue}
	p.seq++
	p.last = p.seq
	list := make(laneList, 0, 16*len(p.entry.To))
	for _, d := range p.entry.To {
		list = list.add(d.Lane, p.seqOf(d))
	}
	stored, err := p.insert(t, 0, list)
	if err != nil {
		return err
	}
	if stored {
		err = p.deliveries(t, p.entry.To)
	} else {
		err = p.again(t)
	}
	if err == nil && p.entry.Cursor != nil {
		err = saveCursor(t, *p.entry.Cursor)
	}
	return err
}

// seqOf returns the seq that a destination gets; 0 if it does not wait.
func (p *putting) seqOf(d queue.Destination) int64 {
	if d.Refused != "" {
		return 0
	}
	return p.last
}

// insert stores the event, unless copy is 0 and it was stored before.
func (p *putting) insert(t *tx, copy int, list laneList) (stored bool, err error) {
	e := p.entry.Event
	r, err := t.exec(`INSERT INTO queue_events (seq, instance, id, name, at, copy, lanes, metadata, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, p.last, e.Instance, e.ID, e.Name, p.entry.At.UnixMilli(), copy, []byte(list), p.event.metadata, p.event.payload)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

// deliveries stores the destinations of the event whose row is p.last.
func (p *putting) deliveries(t *tx, to []queue.Destination) error {
	for i, d := range to {
		p.places[i] = queue.PutResult{Seq: p.seqOf(d), New: true}
		if err := p.deliver(t, d); err != nil {
			return err
		}
	}
	return nil
}

func (p *putting) deliver(t *tx, d queue.Destination) error {
	if d.Refused != "" {
		return p.refuse(t, d)
	}
	return p.roster.deliver(t, d.Lane, p.last, d.Scope, d.Droppable)
}

func (p *putting) refuse(t *tx, d queue.Destination) error {
	e := p.entry.Event
	_, err := t.exec(`INSERT INTO queue_letters (sink, target, instance, instance_id, scope, event, name, reason, attempts, first, last, error, died, metadata, payload)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, '', ?, ?, ?)`, d.Lane.Sink, string(d.Lane.Target), d.Lane.Instance, d.Lane.InstanceID, int(d.Scope),
		e.ID, e.Name, string(d.Refused), time.Now().UnixMilli(), p.event.metadata, p.event.payload)
	return err
}

// again puts an event that was put before: lanes that know it absorb it, for the others it is stored once more,
// because it has to be behind what waits there.
func (p *putting) again(t *tx) error {
	var first int64
	var list []byte
	e := p.entry.Event
	if _, err := t.row("SELECT seq, lanes FROM queue_events WHERE instance = ? AND id = ? AND copy = 0", []any{e.Instance, e.ID}, &first, &list); err != nil {
		return err
	}
	stored := false
	for i, d := range p.entry.To {
		if seq, known := laneList(list).find(d.Lane); known {
			waits, err := t.row(`SELECT d.seq FROM queue_lanes l JOIN queue_deliveries d ON d.seq = ? AND d.lane = l.id
				WHERE l.sink = ? AND l.target = ? AND l.instance = ? AND l.instance_id = ?`,
				[]any{seq, d.Lane.Sink, string(d.Lane.Target), d.Lane.Instance, d.Lane.InstanceID}, &seq)
			if err != nil {
				return err
			}
			if waits {
				p.places[i].Seq = seq
			}
			continue
		}
		if !stored && d.Refused == "" {
			if _, err := p.insert(t, 1, laneList{}); err != nil {
				return err
			}
			stored = true
		}
		if err := p.deliver(t, d); err != nil {
			return err
		}
		p.places[i] = queue.PutResult{Seq: p.seqOf(d), New: true}
		list = laneList(list).add(d.Lane, p.seqOf(d))
		if _, err := t.exec("UPDATE queue_events SET lanes = ? WHERE seq = ?", list, first); err != nil {
			return err
		}
	}
	return nil
}

func (p *putting) after() {
	p.roster.commit()
	p.past.grow(p.last, p.event.bytes())
	if c := p.entry.Cursor; c != nil {
		p.db.log.Readers.Move(*c)
	}
}
