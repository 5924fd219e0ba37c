package file

import (
	"context"
	"database/sql"
	"fmt"
)

// applicationID marks our files in SQLite's header ("evos").
const applicationID = 0x65766f73

// migrations turn a file of version i into one of version i+1 (PRAGMA user_version). They are never changed once
// released, comments included, which SQLite stores; another table or column is another migration at the end.
// Names in them are those of the time: metadata and payload are written by package row now, and what is queued by
// package deliveries.
var migrations = []string{
	`
	CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;

	-- The log. Positions have no gaps: one writer gives them out, and entries go from the oldest end only.
	CREATE TABLE log (
		position INTEGER PRIMARY KEY,
		shard    INTEGER NOT NULL,
		time     INTEGER NOT NULL, -- when it was stored, Unix milliseconds
		start    INTEGER NOT NULL, -- bytes of all entries ever stored before this one
		id       TEXT NOT NULL,
		instance TEXT NOT NULL,
		metadata BLOB NOT NULL,    -- see encodeMetadata
		payload  BLOB NOT NULL
	) STRICT;
	CREATE INDEX log_shard ON log (shard); -- and position, which every index of SQLite ends with
	CREATE INDEX log_id ON log (id);

	CREATE TABLE cursors (
		name     TEXT NOT NULL,    -- of the group
		shard    INTEGER NOT NULL,
		position INTEGER NOT NULL, -- of the last entry acked
		seen     INTEGER NOT NULL, -- when the group was last known to be in use, Unix milliseconds
		PRIMARY KEY (name, shard)
	) STRICT, WITHOUT ROWID;

	CREATE TABLE instances (
		name    TEXT PRIMARY KEY,
		version INTEGER NOT NULL,
		record  TEXT NOT NULL      -- JSON of instances.Instance
	) STRICT, WITHOUT ROWID;

	CREATE TABLE facts (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
	`,
	`
	-- Events that wait in lanes of the delivery queue, or did so a moment ago; see queue.go.
	CREATE TABLE queue_events (
		seq      INTEGER PRIMARY KEY, -- of its deliveries too
		instance TEXT NOT NULL,
		id       TEXT NOT NULL,
		name     TEXT NOT NULL,
		at       INTEGER NOT NULL,    -- when it was put, Unix milliseconds
		copy     INTEGER NOT NULL,    -- 1: not the one that further Puts are absorbed by
		lanes    BLOB NOT NULL,       -- where it was put, see laneList
		metadata BLOB NOT NULL,       -- see encodeMetadata
		payload  BLOB NOT NULL
	) STRICT;
	CREATE UNIQUE INDEX queue_events_id ON queue_events (id, instance) WHERE copy = 0; -- ids that grow keep it compact

	CREATE TABLE queue_lanes (
		id       INTEGER PRIMARY KEY,
		sink     TEXT NOT NULL,
		target   TEXT NOT NULL,
		instance TEXT NOT NULL,
		tried    INTEGER NOT NULL DEFAULT 0, -- seq of the delivery that the rest is about; times are Unix milliseconds, 0 for none
		attempts INTEGER NOT NULL DEFAULT 0,
		first    INTEGER NOT NULL DEFAULT 0,
		last     INTEGER NOT NULL DEFAULT 0,
		next     INTEGER NOT NULL DEFAULT 0,
		error    TEXT NOT NULL DEFAULT '',
		UNIQUE (sink, target, instance)
	) STRICT;

	-- In order of time and not of lanes, so that what belongs together in a commit is together on the disk.
	CREATE TABLE queue_deliveries (
		seq       INTEGER NOT NULL,
		lane      INTEGER NOT NULL,
		scope     INTEGER NOT NULL,
		droppable INTEGER NOT NULL,
		PRIMARY KEY (seq, lane)
	) STRICT, WITHOUT ROWID;

	CREATE TABLE queue_letters (
		id       INTEGER PRIMARY KEY AUTOINCREMENT,
		sink     TEXT NOT NULL,
		target   TEXT NOT NULL,
		instance TEXT NOT NULL,
		scope    INTEGER NOT NULL,
		event    TEXT NOT NULL,
		name     TEXT NOT NULL,
		reason   TEXT NOT NULL,
		attempts INTEGER NOT NULL,
		first    INTEGER NOT NULL,
		last     INTEGER NOT NULL,
		error    TEXT NOT NULL,
		died     INTEGER NOT NULL,
		metadata BLOB NOT NULL,
		payload  BLOB NOT NULL
	) STRICT;
	CREATE INDEX queue_letters_lane ON queue_letters (instance, sink, target);
	CREATE INDEX queue_letters_event ON queue_letters (event);

	CREATE TABLE queue_attempts (
		id       INTEGER PRIMARY KEY AUTOINCREMENT,
		event    TEXT NOT NULL,
		sink     TEXT NOT NULL,
		target   TEXT NOT NULL,
		instance TEXT NOT NULL,
		number   INTEGER NOT NULL,
		at       INTEGER NOT NULL,
		took     INTEGER NOT NULL, -- nanoseconds
		error    TEXT NOT NULL,
		status   TEXT NOT NULL,
		head     BLOB
	) STRICT;
	CREATE INDEX queue_attempts_event ON queue_attempts (event);

	CREATE TABLE queue_pauses (
		sink     TEXT NOT NULL,
		target   TEXT NOT NULL,
		instance TEXT NOT NULL,
		reason   TEXT NOT NULL,
		at       INTEGER NOT NULL,
		PRIMARY KEY (sink, target, instance)
	) STRICT, WITHOUT ROWID;
	`,
	`
	-- The newest position of the log when the instance was created or deleted: what came before belongs to a former one of that
	-- name. A row goes when the log holds nothing of that.
	CREATE TABLE beginnings (
		instance TEXT    NOT NULL PRIMARY KEY,
		position INTEGER NOT NULL
	) STRICT, WITHOUT ROWID;
	`,
	`
	ALTER TABLE instances ADD COLUMN token TEXT;                       -- digest, NULL for none
	ALTER TABLE instances ADD COLUMN birth INTEGER NOT NULL DEFAULT 0; -- the log's newest position when it was created
	UPDATE instances SET
		token = CASE WHEN json_valid(record) THEN nullif(json_extract(record, '$.token'), '') END,
		birth = coalesce((SELECT position FROM beginnings WHERE instance = name), 0);
	UPDATE instances SET token = NULL, record = json_set(record, '$.token', '')
		FROM (SELECT name AS later, row_number() OVER (` + sameToken + `) AS place FROM instances WHERE token IS NOT NULL)
		WHERE name = later AND place > 1; -- see sharedTokens
	CREATE UNIQUE INDEX instances_token ON instances (token) WHERE token IS NOT NULL;

	-- The newest position of the log when the instance of that name was deleted: what came before was its own. A row goes
	-- when the log holds nothing of that, or when an instance of that name is created.
	CREATE TABLE deleted_instances (
		name     TEXT NOT NULL PRIMARY KEY,
		position INTEGER NOT NULL
	) STRICT, WITHOUT ROWID;
	INSERT INTO deleted_instances SELECT instance, position FROM beginnings WHERE instance NOT IN (SELECT name FROM instances);
	DROP TABLE beginnings;

	-- Counts the changes of all instances; that of its last change is the version of an instance.
	INSERT INTO meta (key, value) VALUES ('instances_revision', (SELECT coalesce(max(version), 0) FROM instances));
	`,
	`
	-- Lanes, dead letters and attempts carry the id of the instance's record, '' where it is not known: a later instance of the name has lanes
	-- of its own. What waits belongs to the present instance, as nothing else could be delivered to a target of its own.
	CREATE TABLE queue_lanes_of (
		id          INTEGER PRIMARY KEY,
		sink        TEXT NOT NULL,
		target      TEXT NOT NULL,
		instance    TEXT NOT NULL,
		instance_id TEXT NOT NULL,
		tried       INTEGER NOT NULL DEFAULT 0, -- seq of the delivery that the rest is about; times are Unix milliseconds, 0 for none
		attempts    INTEGER NOT NULL DEFAULT 0,
		first       INTEGER NOT NULL DEFAULT 0,
		last        INTEGER NOT NULL DEFAULT 0,
		next        INTEGER NOT NULL DEFAULT 0,
		error       TEXT NOT NULL DEFAULT '',
		UNIQUE (sink, target, instance, instance_id)
	) STRICT;
	INSERT INTO queue_lanes_of (id, sink, target, instance, instance_id, tried, attempts, first, last, next, error)
		SELECT id, sink, target, instance,
			coalesce((SELECT json_extract(record, '$.id') FROM instances WHERE name = instance AND json_valid(record)), ''),
			tried, attempts, first, last, next, error FROM queue_lanes;
	DROP TABLE queue_lanes;
	ALTER TABLE queue_lanes_of RENAME TO queue_lanes;
	ALTER TABLE queue_letters ADD COLUMN instance_id TEXT NOT NULL DEFAULT '';
	ALTER TABLE queue_attempts ADD COLUMN instance_id TEXT NOT NULL DEFAULT '';
	`,
	`
	-- What the log holds of each instance, up to the position that meta has as log_counted; what is behind it is counted when
	-- the file is opened. What is removed is taken off in the transaction that removes it. Positions of the log have gaps from
	-- now on; log_cut in meta is the newest position that was removed while older ones stayed.
	CREATE TABLE log_usage (
		instance TEXT    NOT NULL PRIMARY KEY,
		events   INTEGER NOT NULL,
		bytes    INTEGER NOT NULL,
		first    INTEGER NOT NULL, -- nothing of the instance is before this position
		cut      INTEGER NOT NULL  -- the newest of its own that was removed while older ones of others stayed, 0 for none
	) STRICT, WITHOUT ROWID;
	INSERT INTO meta (key, value) VALUES ('log_counted', 0), ('log_cut', 0);
	`,
	`
	-- What a delivery and a dead letter count in the limits in bytes, see queue.Size; of those from before, about that.
	ALTER TABLE queue_deliveries ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
	UPDATE queue_deliveries SET size = coalesce((SELECT 512 + length(e.metadata) + length(e.payload)
		FROM queue_events e WHERE e.seq = queue_deliveries.seq), 0);
	ALTER TABLE queue_letters ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
	UPDATE queue_letters SET size = 512 + length(metadata) + length(payload);
	DROP INDEX queue_letters_lane;
	CREATE INDEX queue_letters_lane ON queue_letters (instance, sink, target, size); -- counted without a look at the table

	-- Pauses of an instance carry its id, '' where it is not known.
	CREATE TABLE queue_pauses_of (
		sink        TEXT NOT NULL,
		target      TEXT NOT NULL,
		instance    TEXT NOT NULL,
		instance_id TEXT NOT NULL,
		reason      TEXT NOT NULL,
		at          INTEGER NOT NULL,
		PRIMARY KEY (sink, target, instance, instance_id)
	) STRICT, WITHOUT ROWID;
	INSERT INTO queue_pauses_of (sink, target, instance, instance_id, reason, at)
		SELECT sink, target, instance, '', reason, at FROM queue_pauses;
	DROP TABLE queue_pauses;
	ALTER TABLE queue_pauses_of RENAME TO queue_pauses;
	`,
	`
	-- What the queue has behind the cursor of its group, in its own form; NULL for a cursor that acks alone have moved.
	ALTER TABLE cursors ADD COLUMN done BLOB;

	-- Which blocks of 256 positions hold entries of a shard, or did so; those before the oldest entry are forgotten.
	CREATE TABLE log_blocks (
		shard INTEGER NOT NULL,
		block INTEGER NOT NULL, -- position / 256
		PRIMARY KEY (shard, block)
	) STRICT, WITHOUT ROWID;
	INSERT INTO log_blocks SELECT DISTINCT shard, position / 256 FROM log;
	DROP INDEX log_shard; -- a page in each commit for each of its shards
	`,
}

// sameToken is a window of the instances that have one token, the oldest first.
const sameToken = "PARTITION BY token ORDER BY julianday(json_extract(record, '$.createdAt')), name"

// sharedTokens finds instances with a token that an older one has too, in a file of a version that has no column for
// it, and allowed that. From then on the token opens the oldest one only; which one it opened before was chance.
func sharedTokens(ctx context.Context, c *sql.Conn) (names []string, err error) {
	var unique bool
	err = c.QueryRowContext(ctx, "SELECT count(*) > 0 FROM pragma_table_info('instances') WHERE name = 'token'").
		Scan(&unique)
	if err != nil || unique {
		return nil, err
	}
	rows, err := c.QueryContext(ctx, `SELECT name FROM (SELECT name, row_number() OVER (`+sameToken+`) AS place
		FROM (SELECT name, record, CASE WHEN json_valid(record) THEN json_extract(record, '$.token') END AS token
			FROM instances)
		WHERE token <> '') WHERE place > 1 ORDER BY name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}

// migrate brings the file to the newest version, one transaction per step.
func migrate(ctx context.Context, c *sql.Conn, version int) error {
	for ; version < len(migrations); version++ {
		script := fmt.Sprintf("BEGIN IMMEDIATE;\n%s;\nPRAGMA user_version = %d;\nCOMMIT", migrations[version], version+1)
		if _, err := c.ExecContext(ctx, script); err != nil {
			_, _ = c.ExecContext(ctx, "ROLLBACK") // of what a failed step has left open; its own error is returned
			return fmt.Errorf("migrate the file to version %d: %w", version+1, err)
		}
	}
	return nil
}

// version returns the version of an existing file of ours.
func version(ctx context.Context, path string, c *sql.Conn) (int, error) {
	var id, v int
	if err := pragma(ctx, c, "application_id", &id); err != nil {
		return 0, explain(path, err)
	}
	if err := pragma(ctx, c, "user_version", &v); err != nil {
		return 0, explain(path, err)
	}
	if id != applicationID {
		return 0, damaged(path, fmt.Errorf("it is a SQLite file of another program (application_id %#x)", id))
	}
	if v > len(migrations) {
		return 0, fmt.Errorf("%w: %s has version %d, this program knows up to %d; run the newer program, or restore a copy "+
			"made before it ran", ErrNewer, path, v, len(migrations))
	}
	return v, nil
}

func pragma(ctx context.Context, c *sql.Conn, name string, into ...any) error {
	return c.QueryRowContext(ctx, "PRAGMA "+name).Scan(into...)
}
