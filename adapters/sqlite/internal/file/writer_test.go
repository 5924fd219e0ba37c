package file

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// openFile opens a file of the test's own, or the one at path.
func openFile(t *testing.T, path string) *File {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "evosink.db")
	}
	f, err := Open(t.Context(), Options{Path: path, Shards: 16, MaxQueueBytes: 64 << 20}, zerolog.Nop(),
		func(context.Context, *File, *sql.Conn) (Head, error) { return Head{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	f.Start(func(context.Context) error { return nil })
	return f
}

func open(t *testing.T) *File {
	t.Helper()
	f := openFile(t, "")
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// hold keeps the writer busy until release is called.
func hold(f *File) (release func()) {
	held, end, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		result <- f.Write(context.Background(), &Write{Apply: func(*Tx) error { close(held); <-end; return nil }})
	}()
	<-held
	return func() { close(end); <-result }
}

// fact returns a write that stores a fact, after whatever before does.
func fact(key string, before func(*Tx) error) *Write {
	return &Write{Apply: func(t *Tx) error {
		if err := before(t); err != nil {
			return err
		}
		_, err := t.Exec("INSERT INTO facts (key, value) VALUES (?, x'00')", key)
		return err
	}}
}

func fine(*Tx) error { return nil }

// together runs writes in one batch and returns their results.
func together(t *testing.T, f *File, writes ...*Write) []error {
	t.Helper()
	release := hold(f)
	results := make([]chan error, len(writes))
	for i, w := range writes {
		results[i] = make(chan error, 1)
		go func() { results[i] <- f.Write(t.Context(), w) }()
		until(t, "the write waits in the queue", func() bool { return f.Waiting() > i })
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

func stored(t *testing.T, f *File, key string) bool {
	t.Helper()
	found, err := f.One(t.Context(), "SELECT key FROM facts WHERE key = ?", []any{key}, &key)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWritesThatWaitTogetherShareACommit(t *testing.T) {
	f := open(t)
	before := f.Commits()
	for i, err := range together(t, f, fact("a", fine), fact("b", fine), fact("c", fine)) {
		if err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
	}
	after := f.Commits()
	if commits := after.Count - before.Count; commits != 2 || after.Writes-before.Writes != 4 {
		t.Fatalf("%d commits of %d writes, want the one that held the writer and one of the three others", commits, after.Writes-before.Writes)
	}
}

func TestAWriteThatRefusesFailsAlone(t *testing.T) {
	f := open(t)
	refusal := errors.New("version does not match")
	before := f.Commits()
	errs := together(t, f, fact("a", fine), fact("b", func(*Tx) error { return refusal }), fact("c", fine))
	if errs[0] != nil || !errors.Is(errs[1], refusal) || errs[2] != nil {
		t.Fatalf("results are %v", errs)
	}
	if !stored(t, f, "a") || stored(t, f, "b") || !stored(t, f, "c") {
		t.Fatal("the wrong writes were stored")
	}
	if s := f.Commits(); s.Failures != before.Failures {
		t.Fatal("a refusal counts as a failed commit")
	}
}

func TestAWriteWhoseStatementFailsFailsAlone(t *testing.T) {
	f := open(t)
	broken := func(t *Tx) error {
		if _, err := t.Exec("INSERT INTO facts (key, value) VALUES ('half', x'00')"); err != nil {
			return err
		}
		_, err := t.Exec("INSERT INTO facts (key, value) VALUES ('half', NULL)")
		return err
	}
	errs := together(t, f, fact("a", fine), fact("b", broken), fact("c", fine))
	if errs[0] != nil || errs[1] == nil || errs[2] != nil {
		t.Fatalf("results are %v", errs)
	}
	if !stored(t, f, "a") || stored(t, f, "half") || stored(t, f, "b") || !stored(t, f, "c") {
		t.Fatal("the wrong writes were stored")
	}
	if err := f.Check(t.Context()); err != nil {
		t.Fatalf("a single bad write makes the engine unhealthy: %v", err)
	}
}

func TestASwallowedStatementErrorStillRollsBack(t *testing.T) {
	f := open(t)
	w := fact("a", func(t *Tx) error { t.Exec("INSERT INTO nowhere VALUES (1)"); return nil })
	if err := f.Write(t.Context(), w); err == nil || stored(t, f, "a") {
		t.Fatalf("result %v, stored %v", err, stored(t, f, "a"))
	}
}

func TestAWriteThatIsGivenUpWhileItWaitsNeverHappens(t *testing.T) {
	f := open(t)
	release := hold(f)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- f.Write(ctx, fact("a", fine)) }()
	until(t, "the write waits", func() bool { return f.Waiting() == 1 })
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Fatalf("result is %v", err)
	}
	release()
	if err := f.Write(t.Context(), fact("b", fine)); err != nil || stored(t, f, "a") {
		t.Fatalf("%v; the write given up was stored: %v", err, stored(t, f, "a"))
	}
}

// patient returns a file whose patient writes wait for others however long that takes.
func patient(t *testing.T) *File {
	t.Helper()
	f := openFile(t, "")
	f.Patience(time.Hour)
	return f
}

// begin begins a patient write, and returns when it waits in the batch that is filled next.
func begin(t *testing.T, f *File, ctx context.Context, w *Write) (result chan error) {
	t.Helper()
	w.Patient = true
	result = make(chan error, 1)
	release := hold(f)
	go func() { result <- f.Write(ctx, w) }()
	until(t, "the write is in the queue", func() bool { return f.Waiting() == 1 })
	release()
	until(t, "the writer has seen it", func() bool { return f.Waiting() == 0 })
	return result
}

func TestPatientWritesWaitForACommitOfOthers(t *testing.T) {
	f := patient(t)
	defer f.Close()
	one := begin(t, f, t.Context(), fact("a", fine))
	two := begin(t, f, t.Context(), fact("b", fine)) // what holds the writer here takes the first along
	if err := <-one; err != nil || !stored(t, f, "a") {
		t.Fatalf("the first: %v, stored %v", err, stored(t, f, "a"))
	}
	select {
	case err := <-two:
		t.Fatalf("the second did not wait: %v", err)
	default:
	}
	before := f.Commits()
	if err := f.Write(t.Context(), fact("c", fine)); err != nil {
		t.Fatal(err)
	}
	if err := <-two; err != nil || !stored(t, f, "b") {
		t.Fatalf("the second: %v, stored %v", err, stored(t, f, "b"))
	}
	if after := f.Commits(); after.Count-before.Count != 1 || after.Writes-before.Writes != 2 {
		t.Fatalf("%d commits of %d writes, want one of two", after.Count-before.Count, after.Writes-before.Writes)
	}
}

func TestAPatientWriteIsCommittedInItsTurn(t *testing.T) {
	f := patient(t)
	defer f.Close()
	var order []string
	in := func(key string) *Write {
		return fact(key, func(*Tx) error { order = append(order, key); return nil })
	}
	a := begin(t, f, t.Context(), in("a"))
	if err := f.Write(t.Context(), in("b")); err != nil {
		t.Fatal(err)
	}
	if err := <-a; err != nil || len(order) != 2 || order[0] != "a" {
		t.Fatalf("%v; in the order %v, want what came first first", err, order)
	}
}

func TestAPatientWriteThatNoneComesForIsCommittedAlone(t *testing.T) {
	f := open(t)
	before := f.Commits()
	w := fact("a", fine)
	w.Patient = true
	if err := f.Write(t.Context(), w); err != nil || !stored(t, f, "a") || f.Commits().Count != before.Count+1 {
		t.Fatalf("%v, stored %v in %d commits", err, stored(t, f, "a"), f.Commits().Count-before.Count)
	}
}

func TestPatientWritesThatFillABatchWaitNoLonger(t *testing.T) {
	f := patient(t)
	defer f.Close()
	results := make(chan error, maxBatch)
	for i := range maxBatch {
		w := fact(fmt.Sprint(i), fine)
		w.Patient = true
		go func() { results <- f.Write(t.Context(), w) }()
	}
	for range maxBatch {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPatientWriteIsGivenUpWhileItWaits(t *testing.T) {
	f := patient(t)
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	result := begin(t, f, ctx, fact("a", fine))
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Fatalf("result is %v", err)
	}
	before := f.Commits()
	if err := f.Write(t.Context(), fact("b", fine)); err != nil || stored(t, f, "a") {
		t.Fatalf("%v; the write given up was stored: %v", err, stored(t, f, "a"))
	}
	if after := f.Commits(); after.Writes-before.Writes != 1 {
		t.Fatalf("a commit of %d writes, want 1", after.Writes-before.Writes)
	}
}

func TestCloseDoesNotWaitForThePatienceOfWrites(t *testing.T) {
	for what, end := range map[string]func(*File){
		"by the last write of the file": func(*File) {},
		"by the end of the queue":       func(f *File) { f.writer.close() },
	} {
		t.Run(what, func(t *testing.T) {
			f := patient(t)
			path := f.options.Path
			result := begin(t, f, t.Context(), fact("a", fine))
			end(f)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-result; err != nil {
				t.Fatalf("the waiting write: %v", err)
			}
			again := openFile(t, path)
			defer again.Close()
			if !stored(t, again, "a") {
				t.Fatal("what waited when Close was called is lost")
			}
		})
	}
}

func TestCloseGivesEveryWaitingWriteItsOutcome(t *testing.T) {
	path := filepath.Join(t.TempDir(), "evosink.db")
	f := openFile(t, path)
	release := hold(f)
	result := make(chan error)
	go func() { result <- f.Write(t.Context(), fact("a", fine)) }()
	until(t, "the write waits", func() bool { return f.Waiting() == 1 })
	closed := make(chan error, 1)
	go func() { closed <- f.Close() }()
	select {
	case err := <-closed:
		t.Fatalf("Close returned %v though the writer is busy", err)
	case <-f.watch.done: // Close has begun
	}
	release()
	if err := <-result; err != nil {
		t.Fatalf("the waiting write: %v", err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	again := openFile(t, path)
	defer again.Close()
	if !stored(t, again, "a") {
		t.Fatal("what waited when Close was called is lost")
	}
}
