package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
)

// written makes a file with n events of instance "a", "a#0" and so on, and returns its configuration and its bytes.
func written(t *testing.T, n int) (sqlite.Config, []byte) {
	t.Helper()
	c := newConfig(t)
	db := open(t, c)
	publish(t, db, "a", 0, n)
	closeDB(t, db)
	whole, err := os.ReadFile(c.Path)
	if err != nil {
		t.Fatal(err)
	}
	return c, whole
}

func numbered(instance string, n int) *event.Event {
	return &event.Event{ID: fmt.Sprintf("%s#%d", instance, n), Name: "messages.upsert", Instance: instance, Data: data}
}

// publish publishes the events from (included) to (excluded), one call each.
func publish(t testing.TB, b bus.Bus, instance string, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		if err := publishOne(b, instance, n); err != nil {
			t.Fatalf("publish %s#%d: %v", instance, n, err)
		}
	}
}

func publishOne(b bus.Bus, instance string, n int) error {
	return b.Publisher().Publish(bus.Topic(bus.Shard(instance, b.Shards())), bus.Message(numbered(instance, n)))
}

// replayed returns the ids of the instance's events after the one given.
func replayed(t testing.TB, db *sqlite.DB, after, instance string) []string {
	t.Helper()
	var ids []string
	if err := replay(t.Context(), db, after, instance, func(e *event.Event) error { ids = append(ids, e.ID); return nil }); err != nil {
		t.Fatalf("replay after %s: %v", after, err)
	}
	return ids
}

// replay calls f for the instance's events behind the one with the id.
func replay(ctx context.Context, db *sqlite.DB, after, instance string, f func(*event.Event) error) error {
	position, err := db.Find(ctx, after, instance)
	if err != nil {
		return err
	}
	_, err = db.Replay(ctx, position, instance, func(_ int64, e *event.Event) error { return f(e) })
	return err
}

func refuses(t *testing.T, c sqlite.Config, want error, words ...string) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), c, nop)
	if err == nil {
		closeDB(t, db)
		t.Fatalf("the file was opened, want %v", want)
	}
	if !errors.Is(err, want) {
		t.Fatalf("Open: %v, want %v", err, want)
	}
	for _, w := range append(words, c.Path) {
		if !strings.Contains(err.Error(), w) {
			t.Fatalf("the error does not say %q: %v", w, err)
		}
	}
}

func TestATruncatedFileIsAnErrorAndStaysAsItIs(t *testing.T) {
	c, whole := written(t, 50)
	for _, size := range []int{0, 1, 10, 100, 512, 4095, 4096, 4097, len(whole) / 2, len(whole) - 4096, len(whole) - 1} {
		if err := os.WriteFile(c.Path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		refuses(t, c, sqlite.ErrDamaged, "restore it")
		left, err := os.ReadFile(c.Path)
		if err != nil || !bytes.Equal(left, whole[:size]) {
			t.Fatalf("the file of %d bytes was changed: it has %d, %v", size, len(left), err)
		}
	}
	if err := os.WriteFile(c.Path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := replayed(t, open(t, c), "a#0", "a"); len(got) != 49 {
		t.Fatalf("the restored file has %d events after the first", len(got))
	}
}

func TestAFileThatIsNotADatabaseIsAnErrorAndStaysAsItIs(t *testing.T) {
	c := newConfig(t)
	garbage := bytes.Repeat([]byte("not a database. "), 1024)
	if err := errors.Join(os.MkdirAll(filepath.Dir(c.Path), 0o700), os.WriteFile(c.Path, garbage, 0o600)); err != nil {
		t.Fatal(err)
	}
	refuses(t, c, sqlite.ErrDamaged, "not a database")
	if left, err := os.ReadFile(c.Path); err != nil || !bytes.Equal(left, garbage) {
		t.Fatalf("the file was changed: %v", err)
	}
}

func TestAMissingFileBesideItsWALIsAnError(t *testing.T) {
	c, _ := written(t, 1)
	if err := errors.Join(os.Remove(c.Path), os.WriteFile(c.Path+"-wal", []byte("events"), 0o600)); err != nil {
		t.Fatal(err)
	}
	refuses(t, c, sqlite.ErrDamaged, "-wal")
}

// edit changes a closed file by SQL.
func edit(t *testing.T, path, script string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(script); err != nil {
		t.Fatal(err)
	}
}

func TestAFileOfAnotherProgramIsAnError(t *testing.T) {
	c := newConfig(t)
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	edit(t, c.Path, "CREATE TABLE theirs (x)")
	refuses(t, c, sqlite.ErrDamaged, "another program")
}

func TestAFileOfANewerVersionIsAnErrorThatNamesBoth(t *testing.T) {
	c, _ := written(t, 1)
	edit(t, c.Path, "PRAGMA user_version = 99")
	refuses(t, c, sqlite.ErrNewer, "version 99")
}

func TestAnotherNumberOfShardsIsAnErrorThatSaysWhichToSet(t *testing.T) {
	c, _ := written(t, 1)
	c.Shards = 32
	refuses(t, c, sqlite.ErrShards, "set shards to 16")
}

func TestADirectoryInTheFilesPlaceIsAnError(t *testing.T) {
	c := newConfig(t)
	if err := os.MkdirAll(c.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), c, nop); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Fatalf("Open: %v", err)
	}
}

func TestAnInterruptedCreationIsBegunAnew(t *testing.T) {
	c := newConfig(t)
	if err := errors.Join(os.MkdirAll(filepath.Dir(c.Path), 0o700), os.WriteFile(c.Path+".new", []byte("half"), 0o600)); err != nil {
		t.Fatal(err)
	}
	publish(t, open(t, c), "a", 0, 1)
	if _, err := os.Stat(c.Path + ".new"); !os.IsNotExist(err) {
		t.Fatalf("the half file is still there: %v", err)
	}
}

func TestAPathMayHoldWhatURLsEscape(t *testing.T) {
	c := newConfig(t)
	c.Path = filepath.Join(t.TempDir(), "a b?c#d%41&e=ação.db")
	publish(t, open(t, c), "a", 0, 1)
	if _, err := os.Stat(c.Path); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	c := newConfig(t)
	publish(t, open(t, c), "a", 0, 1)
	for path, want := range map[string]os.FileMode{
		filepath.Dir(c.Path): 0o700, c.Path: 0o600, c.Path + "-wal": 0o600, c.Path + "-shm": 0o600, c.Path + ".lock": 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", path, info.Mode().Perm(), err, want)
		}
	}
}

func TestAnEntryThatCannotBeDecodedIsHandedOverAsSuch(t *testing.T) {
	c, _ := written(t, 3)
	edit(t, c.Path, "UPDATE log SET metadata = x'05ff', payload = x'' WHERE id = 'a#1'")
	db := open(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := db.Group("g").Subscribe(ctx, bus.Topic(bus.Shard("a", db.Shards())))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]error{}
	for range 3 {
		m := <-s
		_, got[m.UUID] = bus.Event(m)
		m.Ack()
	}
	if len(got) != 3 || got["a#0"] != nil || !errors.Is(got["a#1"], bus.ErrUndecodable) || got["a#2"] != nil {
		t.Fatalf("got %v", got)
	}
	if got := replayed(t, db, "a#0", ""); len(got) != 1 || got[0] != "a#2" {
		t.Fatalf("replay gave %v", got)
	}
}

func TestPagesDamagedInPlaceAreAnErrorAndNoPanic(t *testing.T) {
	c, whole := written(t, 500)
	for page := 4096; page+4096 < len(whole); page += 3 * 4096 {
		copy(whole[page:page+4096], bytes.Repeat([]byte{0xa5}, 4096))
	}
	if err := os.WriteFile(c.Path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), c, nop)
	if err == nil {
		defer closeDB(t, db)
		err = replay(t.Context(), db, "a#0", "", func(*event.Event) error { return nil })
	}
	if !errors.Is(err, sqlite.ErrDamaged) {
		t.Fatalf("got %v, want ErrDamaged", err)
	}
}
