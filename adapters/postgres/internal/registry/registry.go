// Package registry keeps the instances, and small facts of the installation, in the postgres engine's database.
//
// Every change of an instance raises a counter, under a lock, so that revisions are visible in their order, and is kept
// in a table of the newest changes. A follower reads them in order, its own too, into a feed in memory that registries of
// instances wait on. The table of instances has the digest of the token under a unique index, and the position of the log
// at which the instance was created; a deleted one leaves that of its deletion behind until retention has removed what
// came before.
package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/postgres/internal/database"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/instances"
)

const (
	// remembered is how many changes the table keeps. A node that has missed more reads all instances again.
	remembered = 2048
	// page is how many changes are read at once.
	page = 128
)

// A Registry implements [instances.Store] in a database. Any number of goroutines may use it at once.
type Registry struct {
	db     *database.DB
	feed   *instances.Feed
	logger zerolog.Logger
	life   context.Context
	end    context.CancelFunc
	done   sync.WaitGroup
	kicked chan struct{} // holds a token when there is a change that the feed does not have yet
}

var _ instances.Store = (*Registry)(nil)

const selectRevision = "SELECT value FROM @.meta WHERE key = 'instances_revision'"

// Open returns the registry of a database and follows what other nodes change, until Close.
func Open(ctx context.Context, db *database.DB, logger zerolog.Logger) (*Registry, error) {
	var revision int64
	if _, err := db.One(ctx, selectRevision, nil, &revision); err != nil {
		return nil, fmt.Errorf("read how often instances were changed: %w", err)
	}
	r := &Registry{db: db, feed: instances.NewFeed(revision), logger: logger, kicked: make(chan struct{}, 1)}
	r.life, r.end = context.WithCancel(context.Background())
	// What was changed shortly before is read too: a node that comes back goes on from there.
	if err := r.recall(ctx, revision); err != nil {
		r.end()
		return nil, err
	}
	r.done.Go(r.follow)
	return r, nil
}

// recall begins the feed with the changes up to a revision that are remembered.
func (r *Registry) recall(ctx context.Context, revision int64) error {
	var oldest int64
	_, err := r.db.One(ctx, "SELECT coalesce(min(revision), $1 + 1) FROM @.instance_changes", []any{revision}, &oldest)
	if err != nil {
		return fmt.Errorf("read the newest changes of instances: %w", err)
	}
	r.feed = instances.NewFeed(oldest - 1)
	for r.feed.Newest() < revision {
		if _, err := r.read(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close ends what waits for changes.
func (r *Registry) Close() {
	r.end()
	r.done.Wait()
	r.feed.Close()
}

// follow reads changes into the feed.
func (r *Registry) follow() {
	for r.life.Err() == nil {
		rung := r.db.Bell.Rung(database.Instances)
		bus.Retry(r.life, func() bool {
			n, err := r.read(r.life)
			for err == nil && n > 0 {
				n, err = r.read(r.life)
			}
			if err != nil && r.life.Err() == nil {
				r.logger.Error().Err(err).Msg("the changes of instances cannot be read")
			}
			return err == nil
		})
		r.db.Bell.Wait(r.life, rung, r.kicked)
	}
}

// read adds the next changes to the feed and returns how many.
func (r *Registry) read(ctx context.Context) (n int, err error) {
	newest, next := r.feed.Newest(), int64(0)
	err = r.db.Each(ctx, func(rows pgx.Rows) error {
		u, err := update(rows)
		if err != nil {
			return err
		}
		if next = u.Revision; next != newest+1 {
			r.feed.Skip(next - 1) // more have come than are remembered
		}
		newest = next
		r.feed.Add(u)
		n++
		return nil
	}, "SELECT revision, name, birth, record FROM @.instance_changes WHERE revision > $1 ORDER BY revision LIMIT $2", newest, page)
	return n, err
}

func update(rows pgx.Rows) (u instances.Update, err error) {
	var name, record []byte
	var birth int64
	if err := rows.Scan(&u.Revision, &name, &birth, &record); err != nil {
		return u, err
	}
	if u.Name = string(name); record != nil {
		u.Instance = &instances.Instance{}
		if *u.Instance, err = decode(record, u.Revision, birth); err != nil {
			return u, err
		}
	}
	return u, nil
}

func decode(record []byte, version, birth int64) (in instances.Instance, err error) {
	if err := json.Unmarshal(record, &in); err != nil {
		return in, fmt.Errorf("decode the record of an instance: %w", err)
	}
	in.Version, in.Birth = version, birth
	return in, nil
}

// Instances implements [instances.Store].
func (r *Registry) Instances(ctx context.Context) (all []instances.Instance, revision int64, err error) {
	err = r.db.Each(ctx, func(rows pgx.Rows) error {
		var version, birth *int64
		var record []byte
		if err := rows.Scan(&revision, &version, &birth, &record); err != nil || version == nil {
			return err
		}
		in, err := decode(record, *version, *birth)
		all = append(all, in)
		return err
	}, `SELECT m.value, i.version, i.birth, i.record FROM @.meta m LEFT JOIN @.instances i ON true
		WHERE m.key = 'instances_revision'`)
	if err != nil {
		return nil, 0, err
	}
	return all, revision, nil
}

// InstanceRevision implements [instances.Store].
func (r *Registry) InstanceRevision(ctx context.Context) (revision int64, err error) {
	if _, err := r.db.One(ctx, selectRevision, nil, &revision); err != nil {
		return 0, err
	}
	if revision > r.feed.Newest() {
		r.kick() // who asks waits for it
	}
	return max(revision, r.feed.Newest()), nil
}

func (r *Registry) kick() {
	select {
	case r.kicked <- struct{}{}:
	default:
	}
}

// InstanceUpdates implements [instances.Store].
func (r *Registry) InstanceUpdates(ctx context.Context, after int64) ([]instances.Update, error) {
	return r.feed.After(ctx, after)
}

// PutInstance implements [instances.Store].
func (r *Registry) PutInstance(ctx context.Context, in instances.Instance) (instances.Instance, error) {
	record, err := json.Marshal(in)
	if err != nil {
		return instances.Instance{}, fmt.Errorf("encode instance: %w", err)
	}
	var token []byte // NULL if there is none
	if in.Token != "" {
		token = []byte(in.Token)
	}
	var version int64
	var birth *int64
	_, err = r.db.Write(ctx, "SELECT version, birth FROM @.instance_put($1, $2, $3, $4, $5)",
		[]any{[]byte(in.Name), in.Version, token, record, remembered}, &version, &birth)
	switch {
	case err != nil:
		return instances.Instance{}, err
	case version == 0:
		return instances.Instance{}, instances.ErrConflict
	case version < 0:
		return instances.Instance{}, instances.ErrToken
	}
	r.changed()
	in.Version, in.Birth = version, *birth
	return in, nil
}

// changed has this node's feed and those of others read what was stored.
func (r *Registry) changed() { r.db.Bell.Ring(database.Instances) }

// DeleteInstance implements [instances.Store].
func (r *Registry) DeleteInstance(ctx context.Context, name string, version int64) (revision int64, err error) {
	_, err = r.db.Write(ctx, "SELECT @.instance_delete($1, $2, $3)", []any{[]byte(name), version, remembered}, &revision)
	if err != nil {
		return 0, err
	}
	if revision == 0 {
		return 0, instances.ErrConflict
	}
	r.changed()
	return revision, nil
}

// Value implements [instances.Store].
func (r *Registry) Value(ctx context.Context, key string) ([]byte, error) {
	var value []byte
	found, err := r.db.One(ctx, "SELECT value FROM @.facts WHERE key = $1", []any{[]byte(key)}, &value)
	if err != nil || !found {
		return nil, err
	}
	return append([]byte{}, value...), nil
}

// AddValue implements [instances.Store].
func (r *Registry) AddValue(ctx context.Context, key string, value []byte) (stored []byte, err error) {
	// The row is touched in any case, so that one which another node has just added is seen.
	_, err = r.db.Write(ctx, `INSERT INTO @.facts AS f VALUES ($1, $2)
		ON CONFLICT (key) DO UPDATE SET value = f.value RETURNING value`, []any{[]byte(key), append([]byte{}, value...)}, &stored)
	if err != nil {
		return nil, err
	}
	return append([]byte{}, stored...), nil
}
