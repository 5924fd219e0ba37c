package postgres_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/postgres"
	"github.com/evosink/evosink/core/bus"
)

// childConfig is the environment variable that makes a process of the tests a node that reads a group, and says by its
// output what it has handled.
const childConfig = "EVOSINK_TEST_POSTGRES_CHILD"

// child is the other process.
func child(config string) {
	var c postgres.Config
	err := json.Unmarshal([]byte(config), &c)
	if err == nil {
		var db *postgres.DB
		if db, err = postgres.Open(context.Background(), c, nop); err == nil {
			err = handle(db)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func handle(db *postgres.DB) error {
	messages, err := db.Group("g").Subscribe(context.Background(), bus.Topic(bus.Shard("a", db.Shards())))
	if err != nil {
		return err
	}
	for m := range messages {
		fmt.Println(m.UUID)
		m.Ack()
	}
	return nil
}

// A process is another node, in a process of its own.
type process struct {
	*exec.Cmd

	mu sync.Mutex
	// mu guards the field below.
	handled []string
}

// start runs a node in a process of its own until the test ends.
func start(t *testing.T, c postgres.Config) *process {
	t.Helper()
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(os.Args[0])}
	p.Env = append(os.Environ(), childConfig+"="+string(config))
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			p.handled = append(p.handled, lines.Text())
			p.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-read
		_ = p.Wait()
	})
	return p
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// has reports whether the process has handled an event.
func (p *process) has(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range p.handled {
		if id == newEvent("a", n).ID {
			return true
		}
	}
	return false
}

// A process that is stopped for twice the lease time and goes on, and is killed then: what it has not handled another one
// does, in order, and nothing of what that one has handled is undone.
func TestAProcessThatIsFrozenOrKilledDoesNoHarm(t *testing.T) {
	c := newConfig(t)
	c.LeaseTime = time.Second
	db := open(t, c)
	p := start(t, c)
	const part = 10
	publish := func(from int) {
		for n := from; n < from+part; n++ {
			emit(t, db, "a", n)
		}
	}
	publish(0)
	waitFor(t, "the other process handles events", func() bool { return p.has(part - 1) })
	p.signal(t, syscall.SIGSTOP)
	publish(part)
	reader := group(t, db, "g", "a")
	last, mine := -1, map[int]bool{-1: true}
	upTo := func(want int) {
		t.Helper()
		for last < want {
			m := next(t, reader)
			var n int
			if _, err := fmt.Sscanf(m.UUID, "a#%d", &n); err != nil {
				t.Fatal(err)
			}
			if last >= 0 && n != last+1 {
				t.Fatalf("behind event %d comes %d", last, n)
			}
			if last < 0 && !mine[n-1] && !p.has(n-1) {
				t.Fatalf("the process that takes over begins with event %d, and the one before was not handled", n)
			}
			last, mine[n] = n, true
			m.Ack()
		}
	}
	upTo(2*part - 1)
	time.Sleep(2 * c.LeaseTime) // the freeze itself
	p.signal(t, syscall.SIGCONT)
	publish(2 * part)
	upTo(3*part - 1)
	if p.has(3*part - 1) {
		t.Error("the process that was frozen handles what is another's")
	}
	closeDB(t, db)
	db = open(t, c)
	publish(3 * part)
	waitFor(t, "the process that was frozen handles events again, when they are its own", func() bool { return p.has(4*part - 1) })
	p.signal(t, syscall.SIGKILL)
	publish(4 * part)
	last = -1
	reader = group(t, db, "g", "a")
	upTo(5*part - 1)
}
