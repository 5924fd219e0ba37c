package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func openInternal(t *testing.T) *DB {
	t.Helper()
	c := DefaultConfig()
	c.Path = filepath.Join(t.TempDir(), "evosink.db")
	db, err := Open(t.Context(), c, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return db
}

// fact returns a write that stores a fact, after whatever before does.
func fact(key string, before func(*tx) error) *write {
	return &write{apply: func(t *tx) error {
		if err := before(t); err != nil {
			return err
		}
		_, err := t.exec("INSERT INTO facts (key, value) VALUES (?, x'00')", key)
		return err
	}}
}

func fine(*tx) error { return nil }

// together runs writes in one batch and returns their results.
func together(t *testing.T, db *DB, writes ...*write) []error {
	t.Helper()
	release := db.Hold()
	results := make([]chan error, len(writes))
	for i, w := range writes {
		results[i] = make(chan error, 1)
		go func() { results[i] <- db.writer.do(t.Context(), w) }()
		until(t, "the write waits in the queue", func() bool { return db.Waiting() > i })
	}
	release()
	out := make([]error, len(writes))
	for i := range results {
		out[i] = <-results[i]
	}
	return out
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not in 30 s: %s", what)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

func stored(t *testing.T, db *DB, key string) bool {
	t.Helper()
	v, err := db.Value(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return v != nil
}

func TestWritesThatWaitTogetherShareACommit(t *testing.T) {
	db := openInternal(t)
	before := db.Stats()
	for i, err := range together(t, db, fact("a", fine), fact("b", fine), fact("c", fine)) {
		if err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
	}
	after := db.Stats()
	if commits := after.Commits - before.Commits; commits != 2 || after.Writes-before.Writes != 4 {
		t.Fatalf("%d commits of %d writes, want the one that held the writer and one of the three others", commits, after.Writes-before.Writes)
	}
}

func TestAWriteThatRefusesFailsAlone(t *testing.T) {
	db := openInternal(t)
	refusal := errors.New("version does not match")
	before := db.Stats()
	errs := together(t, db, fact("a", fine), fact("b", func(*tx) error { return refusal }), fact("c", fine))
	if errs[0] != nil || !errors.Is(errs[1], refusal) || errs[2] != nil {
		t.Fatalf("results are %v", errs)
	}
	if !stored(t, db, "a") || stored(t, db, "b") || !stored(t, db, "c") {
		t.Fatal("the wrong writes were stored")
	}
	if s := db.Stats(); s.Failures != before.Failures {
		t.Fatal("a refusal counts as a failed commit")
	}
}

func TestAWriteWhoseStatementFailsFailsAlone(t *testing.T) {
	db := openInternal(t)
	broken := func(t *tx) error {
		if _, err := t.exec("INSERT INTO facts (key, value) VALUES ('half', x'00')"); err != nil {
			return err
		}
		_, err := t.exec("INSERT INTO facts (key, value) VALUES ('half', NULL)")
		return err
	}
	errs := together(t, db, fact("a", fine), fact("b", broken), fact("c", fine))
	if errs[0] != nil || errs[1] == nil || errs[2] != nil {
		t.Fatalf("results are %v", errs)
	}
	if !stored(t, db, "a") || stored(t, db, "half") || stored(t, db, "b") || !stored(t, db, "c") {
		t.Fatal("the wrong writes were stored")
	}
	if err := db.Check(t.Context()); err != nil {
		t.Fatalf("a single bad write makes the engine unhealthy: %v", err)
	}
}

func TestASwallowedStatementErrorStillRollsBack(t *testing.T) {
	db := openInternal(t)
	w := fact("a", func(t *tx) error { t.exec("INSERT INTO nowhere VALUES (1)"); return nil })
	if err := db.writer.do(t.Context(), w); err == nil || stored(t, db, "a") {
		t.Fatalf("result %v, stored %v", err, stored(t, db, "a"))
	}
}

func TestAWriteThatIsGivenUpWhileItWaitsNeverHappens(t *testing.T) {
	db := openInternal(t)
	release := db.Hold()
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- db.writer.do(ctx, fact("a", fine)) }()
	until(t, "the write waits", func() bool { return db.Waiting() == 1 })
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Fatalf("result is %v", err)
	}
	release()
	if err := db.writer.do(t.Context(), fact("b", fine)); err != nil || stored(t, db, "a") {
		t.Fatalf("%v; the write given up was stored: %v", err, stored(t, db, "a"))
	}
}

func TestCloseGivesEveryWaitingWriteItsOutcome(t *testing.T) {
	db := openInternal(t)
	release := db.Hold()
	result := make(chan error)
	go func() { result <- db.writer.do(t.Context(), fact("a", fine)) }()
	until(t, "the write waits", func() bool { return db.Waiting() == 1 })
	closed := make(chan error)
	go func() { closed <- db.Close(context.Background()) }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Close(ctx); err == nil { // the other Close cannot be over while the writer is held
		t.Fatal("Close returned nil though the writer is busy")
	}
	release()
	if err := <-result; err != nil {
		t.Fatalf("the waiting write: %v", err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	again, err := Open(t.Context(), db.config, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close(context.Background())
	if !stored(t, again, "a") {
		t.Fatal("what waited when Close was called is lost")
	}
}
