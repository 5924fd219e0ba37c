package sqlite_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/event"
)

// killed returns a copy of all files of an open database, as a killed process leaves them.
func killed(t *testing.T, c sqlite.Config) sqlite.Config {
	t.Helper()
	after := newConfig(t)
	after.ReserveBytes = c.ReserveBytes
	// By another process: SQLite's locks of this one would not survive that a file is closed.
	if out, err := exec.Command("cp", "-r", filepath.Dir(c.Path), filepath.Dir(after.Path)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return after
}

// powerCut takes from a copy what the disk need not have after a power cut: the shared memory, and that the system
// still runs.
func powerCut(t *testing.T, c sqlite.Config) {
	t.Helper()
	if err := errors.Join(os.Remove(c.Path+"-shm"), os.Remove(c.Path+".lock")); err != nil {
		t.Fatal(err)
	}
}

func change(t *testing.T, name string, f func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, f(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// holds opens a database and returns how many of the events "a#0" and so on it has from the first on, or the error.
func holds(t *testing.T, c sqlite.Config) (n int, err error) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), c, nop)
	if err != nil {
		return 0, err
	}
	defer closeDB(t, db)
	if db.Stats().Events == 0 {
		return 0, nil
	}
	n = 1
	err = replay(t.Context(), db, "a#0", "a", func(e *event.Event) error {
		if e.ID != fmt.Sprint("a#", n) {
			return fmt.Errorf("%s comes behind number %d", e.ID, n-1)
		}
		n++
		return nil
	})
	return n, err
}

// A database whose WAL has frames of an earlier generation behind those of the present one.
func generations(t *testing.T) (c sqlite.Config, db *sqlite.DB, events int) {
	t.Helper()
	c = newConfig(t)
	c.ReserveBytes = 1 << 20 // 128 pages make a generation
	db = open(t, c)
	publish(t, db, "a", 0, 90)
	return c, db, 90
}

func TestAWALThatWasDamagedAfterACrashIsRefusedOrLosesNothing(t *testing.T) {
	c, _, events := generations(t)
	random := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for trial := range 30 {
		after := killed(t, c)
		what := ""
		change(t, after.Path+"-wal", func(b []byte) []byte {
			at := random.IntN(len(b))
			switch trial % 3 {
			case 0:
				what = fmt.Sprintf("bit flipped at %d of %d", at, len(b))
				b[at] ^= 1 << random.IntN(8)
			case 1:
				what = fmt.Sprintf("cut at %d of %d", at, len(b))
				b = b[:at]
			default:
				what = fmt.Sprintf("block at %d of %d lost", at&^4095, len(b))
				clear(b[at&^4095 : min(len(b), at&^4095+4096)])
			}
			return b
		})
		n, err := holds(t, after)
		switch {
		case errors.Is(err, sqlite.ErrDamaged):
			refused++
		case err != nil:
			t.Errorf("%s: %v", what, err)
		case n != events:
			t.Errorf("%s: started with %d of %d events and without a word", what, n, events)
		}
	}
	if refused == 0 {
		t.Error("no damage was found; the trials hit nothing that matters")
	}
}

func TestFramesBehindADamagedOneAreFoundWithoutTheSharedMemory(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	const events = 40
	publish(t, db, "a", 0, events)
	const frame, head = 24 + 4096, 32
	for at := head; at < int(sizeOf(t, c.Path+"-wal")); at += 13 * frame {
		after := killed(t, c)
		powerCut(t, after)
		change(t, after.Path+"-wal", func(b []byte) []byte { b[at+frame/2] ^= 4; return b })
		// The last commit is as a power cut may leave one; the two cannot be told apart.
		if n, err := holds(t, after); !errors.Is(err, sqlite.ErrDamaged) && n < events-1 {
			t.Errorf("frame %d damaged: started with %d of %d events, %v", (at-head)/frame+1, n, events, err)
		}
	}
}

func sizeOf(t *testing.T, name string) int64 {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// What a power cut leaves of the last commit, which was not synced, is any selection of its blocks; the others have
// what they had before: nothing, zeros or frames of an earlier generation. All commits before are there.
func TestWhateverAPowerCutLeavesOfTheLastCommitStarts(t *testing.T) {
	for name, earlier := range map[string]bool{"in a new WAL": false, "over an earlier generation": true} {
		t.Run(name, func(t *testing.T) {
			c, events := newConfig(t), 20
			var db *sqlite.DB
			if earlier {
				c, db, events = generations(t)
			} else {
				db = open(t, c)
				publish(t, db, "a", 0, events)
			}
			before := killed(t, c)
			publishMany(t, db, "a", events, events+30) // one commit
			after := killed(t, c)
			old, err := os.ReadFile(before.Path + "-wal")
			if err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(3, 4))
			for trial := range 18 {
				image := killed(t, after)
				powerCut(t, image)
				if trial%2 == 0 { // the shared memory may have reached the disk earlier
					shm, err := os.ReadFile(before.Path + "-shm")
					if err := errors.Join(err, os.WriteFile(image.Path+"-shm", shm, 0o600)); err != nil {
						t.Fatal(err)
					}
				}
				change(t, image.Path+"-wal", func(b []byte) []byte {
					keep := random.Float64()
					for at := 0; at < len(b); at += 4096 {
						block := b[at:min(len(b), at+4096)]
						was := make([]byte, len(block))
						if at < len(old) {
							copy(was, old[at:])
						}
						if !bytes.Equal(block, was) && random.Float64() > keep {
							copy(block, was)
						}
					}
					if len(b) > len(old) && trial%3 == 0 {
						b = b[:len(old)+random.IntN(len(b)-len(old))]
					}
					return b
				})
				if n, err := holds(t, image); err != nil || n < events {
					t.Fatalf("trial %d: %d of %d events, %v", trial, n, events, err)
				}
			}
		})
	}
}

func TestADatabaseThatWasCutBesideItsWALIsRefusedOrLosesNothing(t *testing.T) {
	c, _, events := generations(t)
	size := sizeOf(t, c.Path)
	refused := 0
	for trial := range int64(10) {
		after := killed(t, c)
		powerCut(t, after)
		if err := os.Truncate(after.Path, 1+size*trial/10); err != nil {
			t.Fatal(err)
		}
		n, err := holds(t, after)
		switch {
		case errors.Is(err, sqlite.ErrDamaged):
			refused++
		case err != nil || n != events:
			t.Errorf("cut to %d of %d bytes: started with %d of %d events, %v", 1+size*trial/10, size, n, events, err)
		}
	}
	if refused == 0 {
		t.Error("no cut was found; everything was in the WAL")
	}
}

func TestDamageMayBeAcceptedAfterACopyWasMade(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	publish(t, db, "a", 0, 40)
	after := killed(t, c)
	var damaged []byte
	change(t, after.Path+"-wal", func(b []byte) []byte { b[len(b)/2] ^= 1; damaged = b; return b })
	refuses(t, after, sqlite.ErrDamaged, "SQLITE_ACCEPT_DAMAGE=true")
	after.AcceptDamage = true
	n, err := holds(t, after)
	if err != nil || n < 5 || n >= 40 {
		t.Fatalf("%d of 40 events are there, %v; want those in front of the damage", n, err)
	}
	copies, err := filepath.Glob(after.Path + ".damaged-*-wal")
	if err != nil || len(copies) != 1 {
		t.Fatalf("copies: %v, %v", copies, err)
	}
	if b, err := os.ReadFile(copies[0]); err != nil || !bytes.Equal(b, damaged) {
		t.Errorf("the copy is not what was there: %v", err)
	}
	if info, err := os.Stat(copies[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the copy: %v, %v", info.Mode(), err)
	}
	again, _ := filepath.Glob(after.Path + ".damaged-*")
	if n, err := holds(t, after); err != nil || n < 5 {
		t.Errorf("the next start: %d events, %v", n, err)
	}
	if more, _ := filepath.Glob(after.Path + ".damaged-*"); len(more) != len(again) {
		t.Errorf("a sound file was copied: %v", more)
	}
}
