package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/evosink/evosink/core/instances"
)

// Instances implements [instances.Store].
func (db *DB) Instances(ctx context.Context) ([]instances.Instance, error) {
	rows, err := db.reading.QueryContext(ctx, "SELECT version, record FROM instances")
	if err != nil {
		return nil, explain(db.config.Path, err)
	}
	defer rows.Close()
	var all []instances.Instance
	for rows.Next() {
		var in instances.Instance
		var record []byte
		if err := rows.Scan(&in.Version, &record); err != nil {
			return nil, explain(db.config.Path, err)
		}
		if err := json.Unmarshal(record, &in); err != nil {
			return nil, damaged(db.config.Path, fmt.Errorf("decode the record of an instance: %w", err))
		}
		all = append(all, in)
	}
	if err := rows.Err(); err != nil {
		return nil, explain(db.config.Path, err)
	}
	return all, nil
}

// PutInstance implements [instances.Store].
func (db *DB) PutInstance(ctx context.Context, in instances.Instance) (version int64, err error) {
	record, err := json.Marshal(in)
	if err != nil {
		return 0, fmt.Errorf("encode instance: %w", err)
	}
	err = db.writer.do(ctx, &write{bytes: int64(len(record)), apply: func(t *tx) error {
		var stored int64 // 0 if there is none
		if _, err := t.row("SELECT version FROM instances WHERE name = ?", []any{in.Name}, &stored); err != nil {
			return err
		}
		if stored != in.Version {
			return instances.ErrConflict
		}
		_, err := t.exec(`INSERT INTO instances (name, version, record) VALUES (?, ?, ?)
			ON CONFLICT DO UPDATE SET version = excluded.version, record = excluded.record`, in.Name, in.Version+1, string(record))
		if err == nil && stored == 0 {
			err = t.begin(in.Name)
		}
		return err
	}})
	if err != nil {
		return 0, err
	}
	return in.Version + 1, nil
}

// DeleteInstance implements [instances.Store].
func (db *DB) DeleteInstance(ctx context.Context, name string) error {
	return db.writer.do(ctx, &write{frees: true, apply: func(t *tx) error {
		_, err := t.exec("DELETE FROM instances WHERE name = ?", name)
		if err == nil {
			err = t.begin(name)
		}
		return err
	}})
}

// begin parts what the log holds of an instance from what it will hold of a later one of that name, see [DB.Replay].
func (t *tx) begin(instance string) error {
	_, err := t.exec(`INSERT INTO beginnings (instance, position) VALUES (?, ?)
		ON CONFLICT DO UPDATE SET position = excluded.position`, instance, t.head.position)
	return err
}

// Value implements [instances.Store].
func (db *DB) Value(ctx context.Context, key string) ([]byte, error) {
	value := []byte{} // what an empty value comes back as
	err := db.reading.QueryRowContext(ctx, "SELECT value FROM facts WHERE key = ?", key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, explain(db.config.Path, err)
	}
	return append([]byte{}, value...), nil
}

// PutValue implements [instances.Store].
func (db *DB) PutValue(ctx context.Context, key string, value []byte) error {
	value = append([]byte{}, value...)
	return db.writer.do(ctx, &write{bytes: int64(len(value)), apply: func(t *tx) error {
		_, err := t.exec("INSERT INTO facts (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", key, value)
		return err
	}})
}
