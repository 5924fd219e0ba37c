package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
)

// childPath is the variable that makes the test binary a child process: the path of its file. childRound
// numbers the processes that had the file one after the other.
const (
	childPath  = "EVOSINK_SQLITE_TEST_FILE"
	childRound = "EVOSINK_SQLITE_TEST_ROUND"
)

const childWriters = 16

// child publishes from many goroutines and consumes as a group until it is killed. It writes a line for everything it
// may be held to: "open" when the file is open, "pub <id>" after Publish has returned nil, "got <id>" before an ack.
func child(path string) {
	c := sqlite.DefaultConfig()
	c.Path = path
	db, err := sqlite.Open(context.Background(), c, nop)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	say := func(word, id string) {
		mu.Lock()
		defer mu.Unlock()
		if _, err := io.WriteString(os.Stdout, word+" "+id+"\n"); err != nil {
			os.Exit(1) // the parent is gone
		}
	}
	say("open", "")
	for shard := range db.Shards() {
		s, err := db.Group("g").Subscribe(context.Background(), bus.Topic(shard))
		if err != nil {
			panic(err)
		}
		go func() {
			for m := range s {
				say("got", m.UUID)
				m.Ack()
			}
		}()
	}
	for i := range childWriters {
		go childWrites(db, fmt.Sprint("writer-", i), say)
	}
	select {}
}

func childWrites(db *sqlite.DB, instance string, say func(word, id string)) {
	topic := bus.Topic(bus.Shard(instance, db.Shards()))
	for n := 0; ; n++ {
		e := numbered(instance, n)
		e.ID = fmt.Sprintf("%s#%s#%d", instance, os.Getenv(childRound), n)
		if err := db.Publisher().Publish(topic, bus.Message(e)); err != nil {
			panic(err)
		}
		say("pub", e.ID)
	}
}

// A victim is a child process that is going to be killed.
type victim struct {
	cmd   *exec.Cmd
	lines chan string // closed at its end
}

func startChild(t *testing.T, path string, round int, env ...string) *victim {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{cmd: exec.Command(self), lines: make(chan string, 1024)}
	v.cmd.Env = append(os.Environ(), childPath+"="+path, childRound+"="+strconv.Itoa(round))
	v.cmd.Env = append(v.cmd.Env, env...)
	v.cmd.Stderr = os.Stderr
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(v.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			v.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		v.cmd.Process.Kill()
		for range v.lines {
		}
		v.cmd.Wait()
	})
	if line := <-v.lines; line != "open " {
		t.Fatalf("the child did not open the file: %s", line)
	}
	return v
}

// kill kills the child after so many further lines, and passes all of them on. A last line that was cut off does not
// count.
func (v *victim) kill(after int, line func(word, id string)) {
	for n := 0; ; n++ {
		s, ok := <-v.lines
		if !ok {
			return
		}
		if n == after {
			v.cmd.Process.Kill()
		}
		word, id, _ := strings.Cut(s, " ")
		line(word, id)
	}
}

func TestNothingAcknowledgedIsLostByKill9(t *testing.T) {
	c := newConfig(t)
	published, got := map[string]bool{}, newFollow()
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		v := startChild(t, c.Path, round)
		v.kill(rand.IntN(4000), func(word, id string) {
			if word == "pub" {
				published[id] = true
			} else {
				got.add(id)
			}
		})
	}
	db := open(t, c)
	events := db.Stats().Events
	log := drain(t, db, "check", func(ids []string) bool { return len(ids) == int(events) })
	last := map[string][2]int{}
	for _, id := range log {
		instance, at := parse(t, id)
		if before, ok := last[instance]; ok && (at[0] < before[0] || at[0] == before[0] && at[1] != before[1]+1 || at[0] > before[0] && at[1] != 0) {
			t.Fatalf("%s comes behind round %d number %d: out of order, or one between them is lost", id, before[0], before[1])
		}
		last[instance] = at
		delete(published, id)
	}
	if len(published) > 0 {
		t.Fatalf("%d events were acknowledged and are lost: %v", len(published), slices.Collect(maps.Keys(published))[:1])
	}
	want := newFollow()
	for _, id := range log {
		want.add(id)
	}
	drain(t, db, "g", func(ids []string) bool {
		if len(ids) > 0 {
			got.add(ids[len(ids)-1])
		}
		return got.ended(want)
	})
	got.check(t, want)
	t.Logf("%d events", len(log))
}

func parse(t *testing.T, id string) (instance string, at [2]int) {
	t.Helper()
	parts := strings.Split(id, "#")
	if len(parts) != 3 {
		t.Fatalf("a foreign id %q", id)
	}
	round, err1 := strconv.Atoi(parts[1])
	n, err2 := strconv.Atoi(parts[2])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return parts[0], [2]int{round, n}
}

// A follow is what a group was given, process after process, by instance.
type follow struct{ given map[string][]string }

func newFollow() *follow { return &follow{given: map[string][]string{}} }

func (f *follow) add(id string) {
	instance, _, _ := strings.Cut(id, "#")
	f.given[instance] = append(f.given[instance], id)
}

// ended reports whether the last event of every instance was given.
func (f *follow) ended(want *follow) bool {
	for instance, ids := range want.given {
		if !slices.Contains(f.given[instance][max(0, len(f.given[instance])-1):], ids[len(ids)-1]) {
			return false
		}
	}
	return true
}

// check holds the group to: everything, in order, with repetitions only of what came since the cursor was stored.
func (f *follow) check(t *testing.T, want *follow) {
	t.Helper()
	for instance, ids := range want.given {
		place := map[string]int{}
		for i, id := range ids {
			place[id] = i
		}
		next := 0
		for _, id := range f.given[instance] {
			i, ok := place[id]
			if !ok || i > next {
				t.Fatalf("the group was given %s when number %d of %v was next", id, next, len(ids))
			}
			next = i + 1 // smaller than before where the group begins again behind the stored cursor
		}
		if next != len(ids) {
			t.Fatalf("the group was never given %s", ids[next])
		}
	}
}

// drain consumes with a group until enough says so, and returns the ids, those of a shard in order.
func drain(t *testing.T, db *sqlite.DB, group string, enough func(ids []string) bool) (ids []string) {
	t.Helper()
	all := make(chan *message.Message)
	for shard := range db.Shards() {
		c := subscribe(t, db.Group(group), bus.Topic(shard))
		go func() {
			for m := range c {
				select {
				case all <- m:
				case <-m.Context().Done():
				}
			}
		}()
	}
	for !enough(ids) {
		select {
		case m := <-all:
			ids = append(ids, m.UUID)
			m.Ack()
		case <-time.After(20 * time.Second):
			t.Fatalf("group %s was given %d events and no more", group, len(ids))
		}
	}
	return ids
}

func TestASecondProcessIsToldWhoHasTheFile(t *testing.T) {
	c := newConfig(t)
	v := startChild(t, c.Path, 0)
	pid := fmt.Sprintf("pid %d", v.cmd.Process.Pid)
	refuses(t, c, sqlite.ErrLocked, pid)
	v.kill(0, func(string, string) {})
	publish(t, open(t, c), "a", 0, 1) // the lock has died with the process
}

func TestAFileThatIsOpenIsNotOpenedTwiceInOneProcess(t *testing.T) {
	c := newConfig(t)
	db := open(t, c)
	refuses(t, c, sqlite.ErrLocked, fmt.Sprintf("pid %d", os.Getpid()))
	publish(t, db, "a", 0, 1)
	closeDB(t, db)
	open(t, c)
}
