package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// Errors of a database.
var (
	ErrNewer    = errors.New("the schema was written by a newer version of evosink")
	ErrShards   = errors.New("the log has another number of shards")
	ErrFull     = errors.New("the server's disk is full")
	ErrReadOnly = errors.New("the server takes no writes: it is a standby, or was made one")
	ErrDown     = errors.New("there is no connection to the server")
	ErrStalled  = errors.New("the log grows and this node does not get it")
	// ErrUnknown says that the connection broke before the answer came: what was written may be stored or not.
	ErrUnknown = errors.New("the connection broke before the server had answered; it may have happened or not")
)

// SQLSTATE codes that mean something here.
const (
	readOnlyTransaction = "25006"
	diskFull            = "53100"
	lockNotAvailable    = "55P03"
	deadlockDetected    = "40P01"
)

// Code returns the SQLSTATE of an error that the server has answered, else "".
func Code(err error) string {
	if answer, ok := errors.AsType[*pgconn.PgError](err); ok {
		return answer.Code
	}
	return ""
}

// answered reports whether the server has answered that a statement failed, so that nothing of it has happened. A FATAL
// answer ends the connection, and may come in place of that of a commit.
func answered(err error) bool {
	answer, ok := errors.AsType[*pgconn.PgError](err)
	return ok && answer.Severity == "ERROR"
}

// unsent reports whether nothing has happened though there was no answer: no connection could be made, or the statement
// was not sent.
func unsent(err error) bool {
	return errors.Is(err, ErrDown) || pgconn.SafeToRetry(err)
}

// Temporary reports whether a write that failed is worth another try: the server could not be reached or has not
// answered, is read-only, or other work was in the way. Other answers are final.
func Temporary(err error) bool {
	switch Code(err) {
	case readOnlyTransaction, lockNotAvailable, deadlockDetected:
		return true
	}
	return err != nil && !answered(err) && !errors.Is(err, context.Canceled)
}

// explain returns what an error of a statement that reads means. A server that has become a standby is left: all
// connections to it are closed, and the next ones go where writes are taken.
func (db *DB) explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case Code(err) == readOnlyTransaction:
		db.Pool.pool.Reset()
		db.Leases.pool.Reset()
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	case Code(err) == diskFull:
		return fmt.Errorf("%w: %w", ErrFull, err)
	case ctx.Err() != nil: // also where the server answers that it was told to stop
		return ctx.Err()
	}
	return err
}

// doubt is explain for a statement that writes.
func (db *DB) doubt(ctx context.Context, err error) error {
	if err == nil || answered(err) || unsent(err) {
		return db.explain(ctx, err)
	}
	return fmt.Errorf("%w: %w", ErrUnknown, err)
}

// LockTimeout reports whether a statement has waited for a lock for longer than it may.
func LockTimeout(err error) bool { return Code(err) == lockNotAvailable }
