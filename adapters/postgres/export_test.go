package postgres

import "context"

// Retain removes what retention lets go.
func (db *DB) Retain(ctx context.Context) error { return db.log.Retain(ctx) }

// Hears reports whether rings of other nodes arrive.
func (db *DB) Hears() bool { return db.database.Bell.Hears() }

// Lift has the log go on behind what this node has met.
func (db *DB) Lift(context.Context) error { return db.log.Lift() }
