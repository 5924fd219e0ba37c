package sqlite_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
)

func TestQueueKeepsTheContractOfStores(t *testing.T) {
	var configs sync.Map // *sqlite.Queue -> the configuration of its file
	openQueue := func(t *testing.T, c sqlite.Config) queue.Store {
		q := open(t, c).Queue()
		configs.Store(q, c)
		return q
	}
	config := func(s queue.Store) sqlite.Config {
		c, _ := configs.Load(s)
		return c.(sqlite.Config)
	}
	queuetest.Run(t, queuetest.Subject{
		Open: func(t *testing.T) queue.Store { return openQueue(t, newConfig(t)) },
		Reopen: func(t *testing.T, s queue.Store) queue.Store {
			return openQueue(t, crashed(t, config(s)))
		},
		Cursor: func(t *testing.T, s queue.Store, group string, shard int) int64 {
			return storedCursor(t, config(s), group, shard)
		},
	})
}

// crashed returns the configuration of a copy of an open file as a crash at this moment would leave it.
func crashed(t *testing.T, c sqlite.Config) sqlite.Config {
	t.Helper()
	after := newConfig(t)
	if err := os.MkdirAll(filepath.Dir(after.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(c.Path + suffix)
		if errors.Is(err, fs.ErrNotExist) && suffix != "" {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(after.Path+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return after
}

func storedCursor(t *testing.T, c sqlite.Config, group string, shard int) (position int64) {
	t.Helper()
	query(t, c, fmt.Sprintf("SELECT position FROM cursors WHERE name = '%s' AND shard = %d", group, shard), &position)
	return position
}

// query reads one row of a file beside what has it open.
func query(t *testing.T, c sqlite.Config, q string, into ...any) {
	t.Helper()
	file, err := sql.Open("sqlite", c.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.QueryRow(q).Scan(into...); err != nil {
		t.Fatal(err)
	}
}
