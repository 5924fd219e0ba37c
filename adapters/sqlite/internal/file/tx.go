package file

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// A Tx is a transaction of the writer. After a statement has failed, every further one fails with its error.
type Tx struct {
	// Head is the end of the log; it becomes the file's with the commit.
	Head Head

	writer *writer
	err    error // of the first statement that failed
}

// A Head is the end of the log. It belongs to the transaction because positions have no gaps: one that is rolled back
// gives its positions back.
type Head struct {
	Position int64 // of the newest entry ever stored
	End      int64 // bytes of all entries ever stored
}

// DiskFull reports whether the disk is full and the reserve in use: then a write stores only what must be stored, and
// removes at once what it may.
func (t *Tx) DiskFull() bool { return t.writer.low.Load() }

// Exec runs a statement, which is prepared once in the life of the writer. The context of the caller of
// [File.Write] does not reach it: a statement that is interrupted would roll back the whole batch.
func (t *Tx) Exec(query string, args ...any) (sql.Result, error) {
	if t.err != nil {
		return nil, t.err
	}
	s, err := t.prepare(query)
	if err != nil {
		return nil, err
	}
	r, err := s.ExecContext(context.Background(), args...)
	if err != nil {
		t.err = err
	}
	return r, err
}

// Overwriting has what f deletes overwritten with zeros, in the pages and in those that become free.
func (t *Tx) Overwriting(f func() error) error {
	// Not prepared: these take effect when they are compiled.
	if _, err := t.writer.conn.ExecContext(context.Background(), "PRAGMA secure_delete = ON"); err != nil {
		t.err = err
		return err
	}
	defer func() { _, _ = t.writer.conn.ExecContext(context.Background(), "PRAGMA secure_delete = OFF") }()
	return f()
}

// Row runs a query that gives one row at most. found is false when it gives none.
func (t *Tx) Row(query string, args []any, into ...any) (found bool, err error) {
	if t.err != nil {
		return false, t.err
	}
	s, err := t.prepare(query)
	if err != nil {
		return false, err
	}
	err = s.QueryRowContext(context.Background(), args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		t.err = err
	}
	return err == nil, err
}

func (t *Tx) prepare(query string) (*sql.Stmt, error) {
	if s, ok := t.writer.prepared[query]; ok {
		return s, nil
	}
	s, err := t.writer.conn.PrepareContext(context.Background(), query)
	if err != nil {
		t.err = fmt.Errorf("prepare %q: %w", query, err)
		return nil, t.err
	}
	t.writer.prepared[query] = s
	return s, nil
}
