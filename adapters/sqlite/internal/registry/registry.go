// Package registry keeps the instances, and small facts of the installation, in the sqlite engine's file.
//
// Every change of an instance raises a counter in the file, in the same transaction, and goes to a feed in memory after
// the commit, which registries of instances follow. The table has the digest of the token under a unique index, and the
// position of the log at which the instance was created; a deleted one leaves that of its deletion behind until
// retention has removed what came before. By these it is known which events are those of the present owner of a name.
package registry

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/evosink/evosink/adapters/sqlite/internal/file"
	"github.com/evosink/evosink/core/instances"
)

// Born is the SQL of the position behind which all entries of the instance named ?2 are those of its present owner.
const Born = `coalesce((SELECT birth FROM instances WHERE name = ?2),
	(SELECT position FROM deleted_instances WHERE name = ?2), 0)`

const selectRevision = "SELECT value FROM meta WHERE key = 'instances_revision'"

// A Registry implements [instances.Store] in a file. Any number of goroutines may use it at once.
type Registry struct {
	file *file.File
	feed *instances.Feed
}

var _ instances.Store = (*Registry)(nil)

// Open returns the registry of a file that is being opened with conn.
func Open(ctx context.Context, f *file.File, conn *sql.Conn) (*Registry, error) {
	var revision int64
	if err := conn.QueryRowContext(ctx, selectRevision).Scan(&revision); err != nil {
		return nil, fmt.Errorf("read how often instances were changed: %w", err)
	}
	return &Registry{file: f, feed: instances.NewFeed(revision)}, nil
}

// Close ends what waits for changes.
func (r *Registry) Close() { r.feed.Close() }

// Instances implements [instances.Store].
func (r *Registry) Instances(ctx context.Context) (all []instances.Instance, revision int64, err error) {
	t, err := r.file.Snapshot(ctx)
	if err != nil {
		return nil, 0, r.file.Explain(err)
	}
	defer func() { _ = t.Rollback() }()
	if err := t.QueryRowContext(ctx, selectRevision).Scan(&revision); err != nil {
		return nil, 0, r.file.Explain(err)
	}
	rows, err := t.QueryContext(ctx, "SELECT version, birth, record FROM instances")
	if err != nil {
		return nil, 0, r.file.Explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		var in instances.Instance
		var record []byte
		if err := rows.Scan(&in.Version, &in.Birth, &record); err != nil {
			return nil, 0, r.file.Explain(err)
		}
		if err := json.Unmarshal(record, &in); err != nil {
			return nil, 0, r.file.Damaged(fmt.Errorf("decode the record of an instance: %w", err))
		}
		all = append(all, in)
	}
	return all, revision, r.file.Explain(rows.Err())
}

// InstanceRevision implements [instances.Store].
func (r *Registry) InstanceRevision(context.Context) (int64, error) { return r.feed.Newest(), nil }

// InstanceUpdates implements [instances.Store].
func (r *Registry) InstanceUpdates(ctx context.Context, after int64) ([]instances.Update, error) {
	return r.feed.After(ctx, after)
}

// PutInstance implements [instances.Store].
func (r *Registry) PutInstance(ctx context.Context, in instances.Instance) (stored instances.Instance, err error) {
	record, err := json.Marshal(in)
	if err != nil {
		return instances.Instance{}, fmt.Errorf("encode instance: %w", err)
	}
	in.Settings = maps.Clone(in.Settings)
	w := &file.Write{Bytes: int64(len(record))}
	w.Apply = func(t *file.Tx) error {
		stored = in
		var version int64 // 0 if there is none
		found, err := t.Row("SELECT version, birth FROM instances WHERE name = ?", []any{in.Name}, &version, &stored.Birth)
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
			taken, err := t.Row("SELECT name FROM instances WHERE token = ? AND name <> ?", []any{token, in.Name}, &other)
			if err != nil {
				return err
			}
			if taken {
				return instances.ErrToken
			}
		}
		if stored.Version, err = nextRevision(t); err != nil {
			return err
		}
		if !found {
			stored.Birth = t.Head.Position
			if _, err := t.Exec("DELETE FROM deleted_instances WHERE name = ?", in.Name); err != nil {
				return err
			}
		}
		_, err = t.Exec(`INSERT INTO instances (name, version, birth, token, record) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET version = excluded.version, token = excluded.token, record = excluded.record`,
			in.Name, stored.Version, stored.Birth, token, string(record))
		return err
	}
	w.After = func() {
		in := stored
		r.feed.Add(instances.Update{Revision: in.Version, Name: in.Name, Instance: &in})
	}
	if err := r.file.Write(ctx, w); err != nil {
		return instances.Instance{}, err
	}
	return stored, nil
}

// nextRevision counts a change of an instance.
func nextRevision(t *file.Tx) (revision int64, err error) {
	if _, err := t.Exec("UPDATE meta SET value = value + 1 WHERE key = 'instances_revision'"); err != nil {
		return 0, err
	}
	_, err = t.Row(selectRevision, nil, &revision)
	return revision, err
}

// DeleteInstance implements [instances.Store].
func (r *Registry) DeleteInstance(ctx context.Context, name string, version int64) (revision int64, err error) {
	err = r.file.Write(ctx, &file.Write{
		Frees: true,
		Apply: func(t *file.Tx) error {
			found, err := t.Row("SELECT 1 FROM instances WHERE name = ? AND version = ?", []any{name, version}, new(int))
			if err != nil {
				return err
			}
			if !found {
				return instances.ErrConflict
			}
			if revision, err = nextRevision(t); err != nil {
				return err
			}
			if _, err := t.Exec("DELETE FROM instances WHERE name = ?", name); err != nil {
				return err
			}
			_, err = t.Exec(`INSERT INTO deleted_instances (name, position) VALUES (?, ?)
				ON CONFLICT DO UPDATE SET position = excluded.position`, name, t.Head.Position)
			return err
		},
		After: func() { r.feed.Add(instances.Update{Revision: revision, Name: name}) },
	})
	return revision, err
}

// Forget removes what is known of deleted instances from before a position, of which the log holds nothing any more.
func Forget(t *file.Tx, before int64) error {
	_, err := t.Exec("DELETE FROM deleted_instances WHERE position < ?", before)
	return err
}

// Value implements [instances.Store].
func (r *Registry) Value(ctx context.Context, key string) ([]byte, error) {
	value := []byte{} // what an empty value comes back as
	found, err := r.file.One(ctx, "SELECT value FROM facts WHERE key = ?", []any{key}, &value)
	if err != nil || !found {
		return nil, err
	}
	return append([]byte{}, value...), nil
}

// AddValue implements [instances.Store].
func (r *Registry) AddValue(ctx context.Context, key string, value []byte) (stored []byte, err error) {
	value = append([]byte{}, value...)
	err = r.file.Write(ctx, &file.Write{Bytes: int64(len(value)), Apply: func(t *file.Tx) error {
		if _, err := t.Exec("INSERT INTO facts (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING", key, value); err != nil {
			return err
		}
		stored = []byte{}
		_, err := t.Row("SELECT value FROM facts WHERE key = ?", []any{key}, &stored)
		return err
	}})
	if err != nil {
		return nil, err
	}
	return append([]byte{}, stored...), nil
}
