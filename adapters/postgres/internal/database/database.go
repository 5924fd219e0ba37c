// Package database is the postgres engine's way to its server: pools of connections, migrations of the schema, the bell
// by which nodes wake each other, and what errors of the server mean.
//
//	Open, pools, statements   database.go
//	what an error means       errors.go
//	tables, versions          schema.go, schema/*.sql
//	LISTEN and NOTIFY         bell.go
//
// Nothing here needs a session: statements have no names on the server, settings are repeated on each connection, and
// locks end with their transaction, so a pooler that gives each transaction another connection does no harm.
package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

// Options configures a database.
type Options struct {
	URL         string
	Schema      string // an identifier that needs no quotes
	Shards      int
	Connections int           // of the pool for everything but leases, at least 1
	Timeout     time.Duration // after which a statement is given up
}

// A DB is an open database. Any number of goroutines may use it at once.
type DB struct {
	Pool         // for everything but leases
	Leases *Pool // of its own, so that a renewal never waits for a connection
	Bell   *Bell

	options Options
	logger  zerolog.Logger
}

// leaseConnections are for leases, and for the bell.
const leaseConnections = 2

// Open connects, makes the schema or brings it up to date, and starts the bell; the caller closes it. ctx bounds opening
// only. Errors: [ErrNewer], [ErrShards], or what the server or the network says.
func Open(ctx context.Context, o Options, logger zerolog.Logger) (*DB, error) {
	c, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, fmt.Errorf("postgres engine: url: %w", withoutURL(err))
	}
	configure(c, o)
	db := &DB{options: o, logger: logger}
	if err := db.Pool.open(ctx, db, c, o.Connections); err != nil {
		return nil, err
	}
	db.Leases = &Pool{}
	if err := db.Leases.open(ctx, db, c, leaseConnections); err != nil {
		db.Pool.pool.Close()
		return nil, err
	}
	if err := db.migrate(ctx); err != nil {
		db.Leases.pool.Close()
		db.Pool.pool.Close()
		return nil, db.explain(ctx, err)
	}
	db.Bell = newBell(db, c.ConnConfig)
	db.Bell.start()
	return db, nil
}

// withoutURL keeps a password in a URL that cannot be parsed out of the log.
func withoutURL(err error) error {
	if parse, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		if cause := parse.Unwrap(); cause != nil {
			return cause
		}
		return errors.New("it cannot be read; it should be like postgres://user:password@host:5432/database")
	}
	return err
}

// configure sets what every connection has. Time-outs are set after connecting: poolers refuse them as parameters of the
// start-up.
func configure(c *pgxpool.Config, o Options) {
	c.MinConns, c.MinIdleConns = 0, 0
	c.MaxConnIdleTime, c.MaxConnLifetimeJitter = 5*time.Minute, 10*time.Minute
	c.PingTimeout = o.Timeout / 5 // of a connection that was not used for a second
	conn := c.ConnConfig
	conn.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // binary, one round trip, no named statements
	conn.StatementCacheCapacity, conn.DescriptionCacheCapacity = 0, 512
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = o.Timeout / 2
	}
	if conn.ValidateConnect == nil { // a server that is a standby now is none to go on with
		conn.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	millis := o.Timeout.Milliseconds()
	settings := fmt.Sprintf(`SET application_name = 'evosink'; SET statement_timeout = %d; SET lock_timeout = %d;
		SET idle_in_transaction_session_timeout = %d`, millis, millis, millis)
	c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.PgConn().Exec(ctx, settings).ReadAll()
		return err
	}
}

// Close ends the bell and closes the connections.
func (db *DB) Close() {
	db.Bell.close()
	db.Leases.pool.Close()
	db.Pool.pool.Close()
}

// Timeout is how long a statement may take.
func (db *DB) Timeout() time.Duration { return db.options.Timeout }

// Shards returns the number of shards.
func (db *DB) Shards() int { return db.options.Shards }

// Schema returns the name of the schema.
func (db *DB) Schema() string { return db.options.Schema }

// expand puts the schema in place of the "@" of a statement's "@.table".
func (db *DB) expand(sql string) string { return strings.ReplaceAll(sql, "@.", db.options.Schema+".") }

// A Pool runs statements on connections of its own. In a statement "@.name" is a name of the engine's schema. Any number
// of goroutines may use it at once.
type Pool struct {
	db   *DB
	pool *pgxpool.Pool
}

func (p *Pool) open(ctx context.Context, db *DB, c *pgxpool.Config, connections int) error {
	c = c.Copy()
	c.MaxConns = int32(connections)
	pool, err := pgxpool.NewWithConfig(ctx, c)
	if err != nil {
		return fmt.Errorf("postgres engine: %w", err)
	}
	p.db, p.pool = db, pool
	return nil
}

// Each calls scan with each row that a query gives.
func (p *Pool) Each(ctx context.Context, scan func(pgx.Rows) error, sql string, args ...any) error {
	return p.again(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, p.db.expand(sql), args...)
		if err != nil {
			return err
		}
		return drain(rows, scan)
	})
}

func drain(rows pgx.Rows, scan func(pgx.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// One scans the first row that a query gives; found is false if it gives none.
func (p *Pool) One(ctx context.Context, sql string, args []any, into ...any) (found bool, err error) {
	err = p.again(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		err := conn.QueryRow(ctx, p.db.expand(sql), args...).Scan(into...)
		found = err == nil
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return found, err
}

// with runs f with a connection.
func (p *Pool) with(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) error {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	defer conn.Release()
	return f(ctx, conn)
}

// grace is how long a statement that reads may go on when its context has ended. Mostly it ends by itself in that time;
// one that is cut off costs its connection, and the server and Close some time.
const grace = time.Second

// again runs what reads, and once more if its connection turned out to be closed before anything was sent.
func (p *Pool) again(ctx context.Context, read func(context.Context, *pgxpool.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.db.options.Timeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })()
	err := p.with(bounded, read)
	if err != nil && pgconn.SafeToRetry(err) && bounded.Err() == nil {
		err = p.with(bounded, read)
	}
	return p.db.explain(ctx, err)
}

// write runs what writes. ctx is looked at before it begins and not afterwards, so that its end leaves no doubt about
// the result. An error that wraps [ErrUnknown] leaves it open whether it has happened.
func (p *Pool) write(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.db.options.Timeout)
	defer cancel()
	return p.db.doubt(ctx, p.with(ctx, f))
}

// Write runs one statement that writes, a transaction of its own, and scans the first row that it gives. The context is
// looked at before it begins and not afterwards. An error that wraps [ErrUnknown] leaves it open whether it has
// happened.
func (p *Pool) Write(ctx context.Context, sql string, args []any, into ...any) (found bool, err error) {
	err = p.write(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		if len(into) == 0 {
			_, err := conn.Exec(ctx, p.db.expand(sql), args...)
			return err
		}
		err := conn.QueryRow(ctx, p.db.expand(sql), args...).Scan(into...)
		if found = err == nil; errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return found, err
}

// WriteEach is Write for a statement that gives several rows.
func (p *Pool) WriteEach(ctx context.Context, scan func(pgx.Rows) error, sql string, args ...any) error {
	return p.write(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, p.db.expand(sql), args...)
		if err != nil {
			return err
		}
		return drain(rows, scan)
	})
}

// Transact runs f in a transaction and commits unless f returns an error, of which nothing is in doubt. Statements that
// belong together in one function of the server should: between those of a transaction the server waits for this
// process.
func (p *Pool) Transact(ctx context.Context, f func(*Tx) error) error {
	var failed error
	err := p.write(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			failed = f(&Tx{p.db, ctx, tx})
			return failed
		})
		return err
	})
	if failed != nil {
		return p.db.explain(ctx, failed)
	}
	return err
}

// A Tx runs statements of one transaction.
type Tx struct {
	db  *DB
	ctx context.Context // of the call of Transact that it lives in
	tx  pgx.Tx
}

// Exec runs a statement and returns how many rows it has changed.
func (t *Tx) Exec(sql string, args ...any) (int64, error) {
	tag, err := t.tx.Exec(t.ctx, t.db.expand(sql), args...)
	return tag.RowsAffected(), err
}

// Each calls scan with each row that a statement gives.
func (t *Tx) Each(scan func(pgx.Rows) error, sql string, args ...any) error {
	rows, err := t.tx.Query(t.ctx, t.db.expand(sql), args...)
	if err != nil {
		return err
	}
	return drain(rows, scan)
}

// One scans the first row that a statement gives; found is false if it gives none.
func (t *Tx) One(sql string, args []any, into ...any) (found bool, err error) {
	err = t.tx.QueryRow(t.ctx, t.db.expand(sql), args...).Scan(into...)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
