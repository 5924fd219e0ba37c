package registry

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/evosink/evosink/core/instances"
)

const selectRevision = "SELECT value FROM meta WHERE key = 'instances_revision'"

// Instances implements [instances.Store].
func (db *DB) Instances(ctx context.Context) (all []instances.Instance, revision int64, err error) {
	all, revision, err = db.readInstances(ctx)
	if err != nil && !errors.Is(err, ErrDamaged) {
		err = explain(db.config.Path, err)
	}
	return all, revision, err
}

func (db *DB) readInstances(ctx context.Context) (all []instances.Instance, revision int64, err error) {
	t, err := db.reading.BeginTx(ctx, nil) // both queries see the file as of one commit
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = t.Rollback() }()
	if err := t.QueryRowContext(ctx, selectRevision).Scan(&revision); err != nil {
		return nil, 0, err
	}
	rows, err := t.QueryContext(ctx, "SELECT version, birth, record FROM instances")
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var in instances.Instance
		var record []byte
		if err := rows.Scan(&in.Version, &in.Birth, &record); err != nil {
			return nil, 0, err
		}
		if err := json.Unmarshal(record, &in); err != nil {
			return nil, 0, damaged(db.config.Path, fmt.Errorf("decode the record of an instance: %w", err))
		}
		all = append(all, in)
	}
	return all, revision, rows.Err()
}

// InstanceRevision implements [instances.Store].
func (db *DB) InstanceRevision(context.Context) (int64, error) { return db.feed.Newest(), nil }

// InstanceUpdates implements [instances.Store].
func (db *DB) InstanceUpdates(ctx context.Context, after int64) ([]instances.Update, error) {
	return db.feed.After(ctx, after)
}

// PutInstance implements [instances.Store].
func (db *DB) PutInstance(ctx context.Context, in instances.Instance) (stored instances.Instance, err error) {
	record, err := json.Marshal(in)
	if err != nil {
		return instances.Instance{}, fmt.Errorf("encode instance: %w", err)
	}
	in.Settings = maps.Clone(in.Settings)
	w := &write{bytes: int64(len(record))}
	w.apply = func(t *tx) error {
		stored = in
		var version int64 // 0 if there is none
		found, err := t.row("SELECT version, birth FROM instances WHERE name = ?", []any{in.Name}, &version, &stored.Birth)
		if err != nil {
			return err
		}
		if version != in.Version {
			return instances.ErrConflict
		}
		var token any // NULL if there is none
		if in.Token != "" {
			token = string(in.Token)
			var other string
			taken, err := t.row("SELECT name FROM instances WHERE token = ? AND name <> ?", []any{token, in.Name}, &other)
			if err != nil {
				return err
			}
			if taken {
				return instances.ErrToken
			}
		}
		if stored.Version, err = t.nextRevision(); err != nil {
			return err
		}
		if !found {
			stored.Birth = t.head.position
			if _, err := t.exec("DELETE FROM deleted_instances WHERE name = ?", in.Name); err != nil {
				return err
			}
		}
		_, err = t.exec(`INSERT INTO instances (name, version, birth, token, record) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET version = excluded.version, token = excluded.token, record = excluded.record`,
			in.Name, stored.Version, stored.Birth, token, string(record))
		return err
	}
	w.after = func() {
		in := stored
		db.feed.Add(instances.Update{Revision: in.Version, Name: in.Name, Instance: &in})
	}
	if err := db.writer.do(ctx, w); err != nil {
		return instances.Instance{}, err
	}
	return stored, nil
}

// nextRevision counts a change of an instance.
func (t *tx) nextRevision() (revision int64, err error) {
	if _, err := t.exec("UPDATE meta SET value = value + 1 WHERE key = 'instances_revision'"); err != nil {
		return 0, err
	}
	_, err = t.row(selectRevision, nil, &revision)
	return revision, err
}

// DeleteInstance implements [instances.Store].
func (db *DB) DeleteInstance(ctx context.Context, name string, version int64) (revision int64, err error) {
	err = db.writer.do(ctx, &write{
		frees: true,
		apply: func(t *tx) error {
			found, err := t.row("SELECT 1 FROM instances WHERE name = ? AND version = ?", []any{name, version}, new(int))
			if err != nil {
				return err
			}
			if !found {
				return instances.ErrConflict
			}
			if revision, err = t.nextRevision(); err != nil {
				return err
			}
			if _, err := t.exec("DELETE FROM instances WHERE name = ?", name); err != nil {
				return err
			}
			_, err = t.exec(`INSERT INTO deleted_instances (name, position) VALUES (?, ?)
				ON CONFLICT DO UPDATE SET position = excluded.position`, name, t.head.position)
			return err
		},
		after: func() { db.feed.Add(instances.Update{Revision: revision, Name: name}) },
	})
	return revision, err
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

// AddValue implements [instances.Store].
func (db *DB) AddValue(ctx context.Context, key string, value []byte) (stored []byte, err error) {
	value = append([]byte{}, value...)
	err = db.writer.do(ctx, &write{bytes: int64(len(value)), apply: func(t *tx) error {
		if _, err := t.exec("INSERT INTO facts (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING", key, value); err != nil {
			return err
		}
		stored = []byte{}
		_, err := t.row("SELECT value FROM facts WHERE key = ?", []any{key}, &stored)
		return err
	}})
	if err != nil {
		return nil, err
	}
	return append([]byte{}, stored...), nil
}
