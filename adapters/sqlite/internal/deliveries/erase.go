package deliveries

import (
	"context"
	"database/sql"
	"slices"

	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/queue"
)

// eraseBatch is how many rows one write erases, so that others get their turn: each is overwritten.
const eraseBatch = 250

// Erase implements [queue.Store]. The rows are overwritten with zeros. The row of a lane in which nothing waits goes with
// the next start; what it has of errors goes at once.
func (s *Store) Erase(ctx context.Context, e bus.Erasure) (n queue.Erased, err error) {
	for _, of := range []struct {
		query, change string
		count         *int
	}{
		{"SELECT id, instance_id FROM queue_letters WHERE instance = ?", "DELETE FROM queue_letters WHERE id", &n.DeadLetters},
		{"SELECT id, instance_id FROM queue_attempts WHERE instance = ?", "DELETE FROM queue_attempts WHERE id", &n.Attempts},
		{
			"SELECT seq, '' FROM queue_events WHERE instance = ? AND " + waitsNowhere,
			"DELETE FROM queue_events WHERE " + waitsNowhere + " AND seq", &n.Remembered,
		},
		{
			"SELECT id, instance_id FROM queue_lanes WHERE instance = ? AND tried > 0",
			"UPDATE queue_lanes SET tried = 0, attempts = 0, first = 0, last = 0, next = 0, error = '' WHERE id", new(int),
		},
	} {
		var ids []int64 // finding them takes a while where there are many; the writer does not wait for it
		err := s.file.Each(ctx, func(rows *sql.Rows) error {
			var id int64
			var record string
			err := rows.Scan(&id, &record)
			if e.Has(record) {
				ids = append(ids, id)
			}
			return err
		}, of.query, e.Instance)
		if err != nil {
			return n, err
		}
		for batch := range slices.Chunk(ids, eraseBatch) {
			var changed int64
			err := s.file.Write(ctx, &file.Write{Frees: true, Apply: func(t *file.Tx) error {
				return t.Overwriting(func() error {
					r, err := t.Exec(of.change+" IN (SELECT value FROM json_each(?))", file.List(batch))
					if err != nil {
						return err
					}
					changed, err = r.RowsAffected()
					return err
				})
			}})
			if err != nil {
				return n, err
			}
			*of.count += int(changed)
		}
	}
	if n == (queue.Erased{}) {
		return n, nil
	}
	return n, s.file.Vacuum(ctx)
}

const waitsNowhere = "NOT EXISTS (SELECT 1 FROM queue_deliveries d WHERE d.seq = queue_events.seq)"
