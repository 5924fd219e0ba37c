package database

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// migrations are the steps from one version of the schema to the next: schema/1.sql makes the first one. A step is never
// changed once it was released.
//
//go:embed schema/*.sql
var migrations embed.FS

// Version is the version of the schema that this program works with.
const Version = 1

// Names of locks. A number of the server's advisory locks is made of each and of the schema.
const (
	lockMigrate   = "migrate"
	lockPublish   = "publish"
	lockInstances = "instances"
	lockShard     = "shard" // with the shard's number: held to write by its lease, and alone to change hands
	lockLanes     = "lanes" // with the shard's number
)

// lock returns the number of an advisory lock.
func (db *DB) lock(name string) int32 {
	h := fnv.New32a()
	h.Write([]byte("evosink/" + db.options.Schema + "/" + name))
	return int32(h.Sum32())
}

// migrate brings the schema to this program's version, in one transaction, while other nodes that start wait.
func (db *DB) migrate(ctx context.Context) error {
	conn, err := db.Pool.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	defer conn.Release()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// The lock may be held for as long as another node's migration takes.
		patient := "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0"
		if _, err := tx.Exec(ctx, patient, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, 0)", db.lock(lockMigrate)); err != nil {
			return err
		}
		found, err := db.found(ctx, tx)
		if err != nil {
			return err
		}
		if found > Version {
			return fmt.Errorf("%w: schema %s has version %d, this program knows %d; start the newer program, or give this "+
				"one a schema of its own", ErrNewer, db.options.Schema, found, Version)
		}
		for v := found + 1; v <= Version; v++ {
			if err := db.step(ctx, tx, v); err != nil {
				return fmt.Errorf("bring schema %s to version %d: %w", db.options.Schema, v, err)
			}
		}
		return db.agree(ctx, tx)
	})
}

// found returns the version of the schema, 0 if it is not there or empty, and makes it if it is not there.
func (db *DB) found(ctx context.Context, tx pgx.Tx) (version int64, err error) {
	schema := db.options.Schema
	var there, table bool
	err = tx.QueryRow(ctx, "SELECT to_regnamespace($1) IS NOT NULL, to_regclass($2) IS NOT NULL", schema, schema+".meta").
		Scan(&there, &table)
	if err != nil {
		return 0, err
	}
	if !there {
		if _, err := tx.Exec(ctx, "CREATE SCHEMA "+schema); err != nil {
			return 0, fmt.Errorf("make schema %s: %w (let the database's owner do it: CREATE SCHEMA %s AUTHORIZATION role)",
				schema, err, schema)
		}
	}
	if !table {
		return 0, nil
	}
	err = tx.QueryRow(ctx, db.expand("SELECT value FROM @.meta WHERE key = 'version'")).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("schema %s has a table meta that evosink has not made; give it a schema of its own", schema)
	}
	return version, err
}

// step runs a migration.
func (db *DB) step(ctx context.Context, tx pgx.Tx, version int64) error {
	text, err := migrations.ReadFile(fmt.Sprintf("schema/%d.sql", version))
	if err != nil {
		return err
	}
	sql := db.expand(string(text))
	for _, name := range []string{lockPublish, lockInstances, lockShard, lockLanes} {
		sql = strings.ReplaceAll(sql, "@lock_"+name, fmt.Sprint("(", db.lock(name), ")"))
	}
	sql = strings.ReplaceAll(sql, "@schema", "'"+db.options.Schema+"'")
	if _, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, db.expand(`INSERT INTO @.meta (key, value) VALUES ('version', $1)
		ON CONFLICT (key) DO UPDATE SET value = excluded.value`), version)
	return err
}

// agree stores the number of shards, or holds it against the one that is stored.
func (db *DB) agree(ctx context.Context, tx pgx.Tx) error {
	var shards int
	err := tx.QueryRow(ctx, db.expand(`INSERT INTO @.meta (key, value) VALUES ('shards', $1)
		ON CONFLICT (key) DO UPDATE SET value = meta.value RETURNING value`), db.options.Shards).Scan(&shards)
	if err != nil {
		return err
	}
	if shards != db.options.Shards {
		return fmt.Errorf("%w: schema %s has %d, configured are %d; postgres.shards must be %d", ErrShards,
			db.options.Schema, shards, db.options.Shards, shards)
	}
	return nil
}
