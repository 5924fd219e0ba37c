package postgres_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/evosink/evosink/adapters/postgres"
)

func TestNodesThatStartAtOnceMakeOneSchema(t *testing.T) {
	c := newConfig(t)
	var starting sync.WaitGroup
	for range 6 {
		starting.Go(func() {
			db, err := postgres.Open(context.Background(), c, nop)
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			closeDB(t, db)
		})
	}
	starting.Wait()
	if n := number(t, c, "SELECT count(*) FROM @.log_chunks"); n != 1 {
		t.Errorf("the schema was made %d times", n)
	}
}

func TestASchemaOfANewerVersionIsRefusedAndLeftAlone(t *testing.T) {
	c := newConfig(t)
	closeDB(t, open(t, c))
	sql(t, c, "UPDATE @.meta SET value = value + 1 WHERE key = 'version'")
	before := number(t, c, "SELECT value FROM @.meta WHERE key = 'version'")
	if _, err := postgres.Open(t.Context(), c, nop); !errors.Is(err, postgres.ErrNewer) || !strings.Contains(err.Error(), c.Schema) {
		t.Errorf("open: %v, want ErrNewer and the name of the schema", err)
	}
	if after := number(t, c, "SELECT value FROM @.meta WHERE key = 'version'"); after != before {
		t.Errorf("the version was %d and is %d", before, after)
	}
}

func TestASchemaKeepsItsNumberOfShards(t *testing.T) {
	c := newConfig(t)
	closeDB(t, open(t, c))
	c.Shards++
	if _, err := postgres.Open(t.Context(), c, nop); !errors.Is(err, postgres.ErrShards) {
		t.Errorf("open: %v, want ErrShards", err)
	}
}

func TestATableOfAnotherProgramIsNotTakenForOurs(t *testing.T) {
	c := newConfig(t)
	conn := connect(t, c)
	defer conn.Close(context.Background())
	_, err := conn.Exec(t.Context(), "CREATE SCHEMA "+c.Schema+"; CREATE TABLE "+c.Schema+".meta (key text, value text)")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Open(t.Context(), c, nop); err == nil || !strings.Contains(err.Error(), "schema of its own") {
		t.Errorf("open: %v, want an error that says what to do", err)
	}
}

// An ordinary role may do everything that the engine does, also opening and dropping chunks of the log.
func TestARoleThatOwnsTheSchemaSuffices(t *testing.T) {
	c := newConfig(t)
	admin := connect(t, c)
	defer admin.Close(context.Background())
	role := c.Schema + "_role"
	u, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "secret")
	poor := c
	poor.URL = u.String()
	if _, err := admin.Exec(t.Context(), "CREATE ROLE "+role+" LOGIN PASSWORD 'secret'"); err != nil {
		t.Skipf("the role of the tests may not make others: %v", err)
	}
	defer func() {
		if _, err := admin.Exec(context.Background(), "DROP OWNED BY "+role+" CASCADE; DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	}()
	if _, err := postgres.Open(t.Context(), poor, nop); err == nil || !strings.Contains(err.Error(), "CREATE SCHEMA "+c.Schema+" AUTHORIZATION") {
		t.Fatalf("open without a schema and the right to make one: %v, want an error that says what to do", err)
	}
	if _, err := admin.Exec(t.Context(), "CREATE SCHEMA "+c.Schema+" AUTHORIZATION "+role); err != nil {
		t.Fatal(err)
	}
	db, err := postgres.Open(t.Context(), poor, nop)
	if err != nil {
		t.Fatal(err)
	}
	defer closeDB(t, db)
	emit(t, db, "a", 0)
	sql(t, c, "UPDATE @.log_chunks SET opened = opened - interval '1 year'")
	emit(t, db, "a", 1)
	sql(t, c, "UPDATE @.log_chunks SET closed = closed - interval '1 year'")
	if err := db.Retain(t.Context()); err != nil {
		t.Errorf("retain: %v", err)
	}
	if n := number(t, c, "SELECT count(*) FROM @.log"); n != 1 {
		t.Errorf("the log has %d entries, want the newest", n)
	}
}
