package deliveries

import (
	"context"
	"database/sql"

	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/queue"
)

// Pauses implements [queue.Store].
func (s *Store) Pauses(ctx context.Context) (out []queue.Pause, err error) {
	err = s.file.Each(ctx, func(rows *sql.Rows) error {
		var p queue.Pause
		err := rows.Scan(&p.Sink, &p.Target, &p.Instance, &p.InstanceID, &p.Reason, (*file.UnixMilli)(&p.At))
		out = append(out, p)
		return err
	}, "SELECT sink, target, instance, instance_id, reason, at FROM queue_pauses")
	return out, err
}

// PutPause implements [queue.Store].
func (s *Store) PutPause(ctx context.Context, p queue.Pause) error {
	return s.file.Write(ctx, &file.Write{Frees: true, Apply: func(t *file.Tx) error {
		_, err := t.Exec(`INSERT INTO queue_pauses (sink, target, instance, instance_id, reason, at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET reason = excluded.reason, at = excluded.at`,
			p.Sink, string(p.Target), p.Instance, p.InstanceID, p.Reason, file.Milli(p.At))
		return err
	}})
}

// DeletePause implements [queue.Store].
func (s *Store) DeletePause(ctx context.Context, of queue.Selector) error {
	return s.file.Write(ctx, &file.Write{Frees: true, Apply: func(t *file.Tx) error {
		_, err := t.Exec("DELETE FROM queue_pauses WHERE sink = ? AND target = ? AND instance = ?",
			of.Sink, string(of.Target), of.Instance)
		return err
	}})
}

// DeletePausesOf implements [queue.Store].
func (s *Store) DeletePausesOf(ctx context.Context, instance, id string) error {
	return s.file.Write(ctx, &file.Write{Frees: true, Apply: func(t *file.Tx) error {
		_, err := t.Exec("DELETE FROM queue_pauses WHERE instance = ? AND instance_id IN ('', ?)", instance, id)
		return err
	}})
}
