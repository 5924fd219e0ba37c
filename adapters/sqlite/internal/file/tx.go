package file

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// A tx is a transaction under way. After a statement has failed, err is set and every further one fails with it.
type tx struct {
	writer *writer
	head   head // of the log; becomes the writer's with the commit
	err    error
}

// A head is the end of the log.
type head struct {
	position int64 // of the newest entry ever stored
	end      int64 // bytes of all entries ever stored
}

// exec runs a statement, prepared once for the life of the writer. The context of whoever waits does not reach it: a statement
// that is interrupted would take the whole batch with it.
func (t *tx) exec(query string, args ...any) (sql.Result, error) {
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

// row runs a query that gives one row at most. found is false when it gives none.
func (t *tx) row(query string, args []any, into ...any) (found bool, err error) {
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

func (t *tx) prepare(query string) (*sql.Stmt, error) {
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
