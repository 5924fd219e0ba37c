package postgres_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/evosink/evosink/adapters/postgres"
)

// nop is a logger that writes nothing.
var nop = zerolog.Nop()

// server is the real server at EVOSINK_TEST_POSTGRES, with a database of this process's own; why says why there is none.
var server struct {
	url  string
	why  error
	next atomic.Int64 // numbers schemas
}

func TestMain(m *testing.M) {
	if config := os.Getenv(childConfig); config != "" {
		child(config)
	}
	drop, err := createDatabase()
	server.why = err
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if drop != nil {
			drop()
		}
		os.Exit(code)
	}))
}

// createDatabase makes the database of this process.
func createDatabase() (drop func(), err error) {
	uri := cmp.Or(os.Getenv("EVOSINK_TEST_POSTGRES"), "postgres://postgres@127.0.0.1:5432/postgres")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, uri)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	name := "evosink_test_" + strings.ToLower(rand.Text()[:10])
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return nil, err
	}
	u, err := url.Parse(uri)
	if err != nil {
		return nil, err
	}
	u.Path = "/" + name
	server.url = u.String()
	return func() {
		conn, err := pgx.Connect(context.Background(), uri)
		if err == nil {
			_, err = conn.Exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)")
			_ = conn.Close(context.Background())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "the database", name, "is left:", err)
		}
	}, nil
}

// newConfig returns a configuration for a schema of the test's own.
func newConfig(t testing.TB) postgres.Config {
	t.Helper()
	if server.why != nil {
		if os.Getenv("EVOSINK_REQUIRE_SERVICES") == "1" {
			t.Fatalf("PostgreSQL is required and cannot be used: %v", server.why)
		}
		t.Skipf("no PostgreSQL (set EVOSINK_TEST_POSTGRES): %v", server.why)
	}
	c := postgres.DefaultConfig()
	c.URL, c.Schema, c.Connections = server.url, fmt.Sprintf("evosink_%d", server.next.Add(1)), 4
	return c
}

// sql runs a statement on the server, "@." being the schema.
func sql(t testing.TB, c postgres.Config, statement string, args ...any) {
	t.Helper()
	conn := connect(t, c)
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), strings.ReplaceAll(statement, "@.", c.Schema+"."), args...); err != nil {
		t.Fatal(err)
	}
}

// number returns the number that a statement gives.
func number(t testing.TB, c postgres.Config, statement string, args ...any) (n int64) {
	t.Helper()
	conn := connect(t, c)
	defer conn.Close(context.Background())
	if err := conn.QueryRow(context.Background(), strings.ReplaceAll(statement, "@.", c.Schema+"."), args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func connect(t testing.TB, c postgres.Config) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), server.url) // and not through a pooler
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func open(t testing.TB, c postgres.Config) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(context.Background(), c, nop)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeDB(t, db) })
	return db
}

func closeDB(t testing.TB, db *postgres.DB) {
	t.Helper()
	if err := db.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
}
