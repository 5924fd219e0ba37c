package e2e_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // to count what is in a closed database
)

// stored returns how many events a database holds that no process has open.
func stored(t *testing.T, file string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?mode=rw")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT count(*) FROM log WHERE instance = 'sales'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// post posts n events and returns how many were accepted.
func post(p *process, n int) (accepted int) {
	for range n {
		if status, _ := p.do("POST", "/events/sales", `{"event":"messages.upsert","data":{}}`); status == 201 {
			accepted++
		}
	}
	return accepted
}

func TestADatabaseThatIsNotInItsPlaceTakesNoEvents(t *testing.T) {
	another := func(file string) error { return os.WriteFile(file, []byte("another file"), 0o600) }
	for name, c := range map[string]struct {
		away, back func(file string) error // back is nil if there is no way back
		stopped    bool                    // it is put back when the process has ended
	}{
		"moved": {
			away: func(file string) error { return os.Rename(file, file+".away") },
			back: func(file string) error { return os.Rename(file+".away", file) },
		},
		"moved until the end": {
			away:    func(file string) error { return os.Rename(file, file+".away") },
			back:    func(file string) error { return os.Rename(file+".away", file) },
			stopped: true,
		},
		"replaced": {
			away: func(file string) error {
				return errors.Join(os.Rename(file, file+".away"), another(file))
			},
			back: func(file string) error { return os.Rename(file+".away", file) },
		},
		"the WAL moved": {
			away: func(file string) error { return os.Rename(file+"-wal", file+"-wal.away") },
			back: func(file string) error { return os.Rename(file+"-wal.away", file+"-wal") },
		},
		"removed": {away: func(file string) error { return os.Remove(file) }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "data", "evosink.db")
			p := launch(t, dir)
			accepted := post(p, 20)
			if accepted != 20 {
				t.Fatalf("%d of 20 events accepted", accepted)
			}
			if err := c.away(file); err != nil {
				t.Fatal(err)
			}
			if body := p.must(503, "GET", "/readyz", ""); !strings.Contains(body, "evosink.db") {
				t.Errorf("readiness does not say which file: %s", body)
			}
			if n := post(p, 20); n > 0 {
				t.Errorf("%d events were accepted without a database", n)
			}
			p.must(503, "GET", "/readyz", "")
			if c.back == nil {
				p.terminate()
				rescued, err := filepath.Glob(file + ".rescued-*")
				if err != nil || len(rescued) != 1 {
					t.Fatalf("rescued: %v, %v", rescued, err)
				}
				if n := stored(t, rescued[0]); n < accepted {
					t.Errorf("%d events were accepted, the rescued database has %d", accepted, n)
				}
				if err := os.Rename(rescued[0], file); err != nil {
					t.Fatal(err)
				}
				launch(t, dir).must(200, "GET", "/readyz", "")
				return
			}
			if c.stopped {
				p.terminate()
			}
			if err := c.back(file); err != nil {
				t.Fatal(err)
			}
			if c.stopped {
				if n := stored(t, file); n < accepted {
					t.Errorf("%d events were accepted, %d are stored", accepted, n)
				}
				return
			}
			p.must(200, "GET", "/readyz", "")
			accepted += post(p, 20)
			if accepted != 40 {
				t.Errorf("%d of 40 events accepted", accepted)
			}
			if code := p.terminate(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if n := stored(t, file); n < accepted {
				t.Errorf("%d events were accepted, %d are stored", accepted, n)
			}
		})
	}
}

func TestAnotherNameOfTheDatabaseLetsNoSecondProcessIn(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "data", "evosink.db")
	p := launch(t, dir)
	for name, make := range map[string]func(path string) error{
		"file.db":      func(path string) error { return os.Symlink(file, path) },
		"directory.db": func(path string) error { return os.Symlink(filepath.Dir(file), filepath.Join(other, "link")) },
		"hard.db":      func(path string) error { return os.Link(file, path) },
	} {
		path := filepath.Join(other, name)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if name == "directory.db" {
			path = filepath.Join(other, "link", "evosink.db")
		}
		cmd := command(t, other)
		cmd.Env = append(cmd.Env, "SQLITE_PATH="+path)
		refuses(t, cmd, map[bool]string{true: "hard links", false: "evosink.db"}[name == "hard.db"])
		os.Remove(path + ".lock")
	}
	// The other name of a file whose first name is gone.
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	os.Remove(filepath.Join(other, "hard.db"))
	if err := os.Rename(file+".away", filepath.Join(other, "only.db")); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, other)
	cmd.Env = append(cmd.Env, "SQLITE_PATH="+filepath.Join(other, "only.db"))
	refuses(t, cmd, "in use by another process")
	p.terminate()
}

func TestTheLockFileIsNeverSomethingElse(t *testing.T) {
	for name, put := range map[string]func(precious, lock string) error{
		"a symbolic link": os.Symlink,
		"a hard link":     os.Link,
		"a file":          os.Rename,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			precious, lock := filepath.Join(dir, "precious"), filepath.Join(dir, "data", "evosink.db.lock")
			const content = "12 what must not be lost\n"
			if err := errors.Join(os.Mkdir(filepath.Dir(lock), 0o700), os.WriteFile(precious, []byte(content), 0o600), put(precious, lock)); err != nil {
				t.Fatal(err)
			}
			refuses(t, command(t, dir), "evosink.db.lock")
			if got, err := os.ReadFile(lock); string(got) != content {
				t.Errorf("it holds %q now, %v", got, err)
			}
		})
	}
}

func TestAWALWithADamagedFrameIsRefusedAndMayBeAccepted(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "data", "evosink.db")
	p := launch(t, dir)
	if n := post(p, 50); n != 50 {
		t.Fatalf("%d of 50 events accepted", n)
	}
	p.kill()
	wal, err := os.ReadFile(file + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	wal[len(wal)/2] ^= 1
	if err := os.WriteFile(file+"-wal", wal, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(t, command(t, dir), "evosink.db-wal", "restore it", "SQLITE_ACCEPT_DAMAGE")
	if after, _ := os.ReadFile(file + "-wal"); string(after) != string(wal) {
		t.Fatal("the damaged WAL was changed")
	}
	p = launch(t, dir, "SQLITE_ACCEPT_DAMAGE=true")
	if n := post(p, 10); n != 10 {
		t.Errorf("%d of 10 events accepted afterwards", n)
	}
	p.terminate()
	copies, _ := filepath.Glob(file + ".damaged-*-wal")
	if len(copies) != 1 {
		t.Fatalf("copies of the WAL: %v", copies)
	}
	if saved, _ := os.ReadFile(copies[0]); string(saved) != string(wal) {
		t.Error("the copy is not what was there")
	}
	launch(t, dir).must(200, "GET", "/readyz", "")
}
