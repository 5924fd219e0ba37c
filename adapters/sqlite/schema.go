package sqlite

import (
	"context"
	"database/sql"
	"fmt"
)

// applicationID marks our files in SQLite's header ("evos").
const applicationID = 0x65766f73

// migrations turn a file of version i into one of version i+1 (PRAGMA user_version). They are never changed
// once released; whoever needs another table or column appends one.
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
}

// migrate brings the file to the newest version, one transaction per step.
func migrate(ctx context.Context, c *sql.Conn, version int) error {
	for ; version < len(migrations); version++ {
		script := fmt.Sprintf("BEGIN IMMEDIATE;\n%s;\nPRAGMA user_version = %d;\nCOMMIT", migrations[version], version+1)
		if _, err := c.ExecContext(ctx, script); err != nil {
			c.ExecContext(ctx, "ROLLBACK") // of what a failed step has left open; its own error is the one to tell
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
		return 0, fmt.Errorf("%w: %s has version %d, this program knows up to %d; run the newer program, or restore a copy made before it ran",
			ErrNewer, path, v, len(migrations))
	}
	return v, nil
}

func pragma(ctx context.Context, c *sql.Conn, name string, into ...any) error {
	return c.QueryRowContext(ctx, "PRAGMA "+name).Scan(into...)
}
