package file

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ErrEnough ends the rows of [File.Each] early, without an error.
var ErrEnough = errors.New("enough rows")

// Each runs a query on the read pool and calls use for every row, until use fails or returns [ErrEnough]. Errors of
// SQLite say what can be done about them.
func (f *File) Each(ctx context.Context, use func(*sql.Rows) error, query string, args ...any) error {
	rows, err := f.reading.QueryContext(ctx, query, args...)
	if err != nil {
		return f.Explain(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := use(rows); err != nil {
			if errors.Is(err, ErrEnough) {
				return nil
			}
			return f.Explain(err)
		}
	}
	return f.Explain(rows.Err())
}

// One runs a query that gives one row at most on the read pool; found is false when it gives none.
func (f *File) One(ctx context.Context, query string, args []any, into ...any) (found bool, err error) {
	err = f.reading.QueryRowContext(ctx, query, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, f.Explain(err)
}

// Snapshot begins a transaction on the read pool, in which all queries see the file as of one commit. The caller ends
// it with Rollback.
func (f *File) Snapshot(ctx context.Context) (*sql.Tx, error) { return f.reading.BeginTx(ctx, nil) }

// A UnixMilli scans a column of Unix milliseconds into a time; 0 is the zero time.
type UnixMilli time.Time

// Scan implements [sql.Scanner].
func (m *UnixMilli) Scan(v any) error {
	ms, ok := v.(int64)
	if !ok {
		return fmt.Errorf("%v is not a time", v)
	}
	*m = UnixMilli{}
	if ms != 0 {
		*m = UnixMilli(time.UnixMilli(ms).UTC())
	}
	return nil
}

// Milli returns a time as [UnixMilli] reads it.
func Milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// List returns numbers as the JSON that json_each takes, which gives them back in order.
func List(numbers []int64) string {
	b := []byte{'['}
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(append(b, ']'))
}
