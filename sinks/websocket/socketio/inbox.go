package socketio

import (
	"errors"
	"sync"
	"time"
)

// errStalled means that the handlers of a client do not get on.
var errStalled = errors.New("socketio: handlers of the client are stalled")

// taskOverhead is what a waiting task costs beside its bytes.
const taskOverhead = 256

// An inbox is what one client's hooks have to do, in order. Its goroutine is
// started for the first task and ends after the last, so an idle client has
// none. The zero value is ready.
type inbox struct {
	mu sync.Mutex
	// mu guards the fields below.
	tasks   []task
	bytes   int           // of tasks, and of those that run
	running bool          // the goroutine is there
	vacancy chan struct{} // closed when bytes have become fewer, if a caller waits
}

type task struct {
	do   func()
	size int
}

// put adds a task that came from the client, and waits while there is too much
// for it. It returns false if that takes longer than Config.StallTimeout.
func (b *inbox) put(c *Client, do func(), size int) bool {
	size += taskOverhead
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.bytes > 0 && b.bytes+size > c.server.config.MaxInbound {
		if !b.waitVacancy(c.server.config.StallTimeout) {
			return false
		}
	}
	b.add(c, task{do, size})
	return true
}

// waitVacancy returns false if nothing got done in time. Held: mu, but not
// while waiting.
func (b *inbox) waitVacancy(patience time.Duration) bool {
	if b.vacancy == nil {
		b.vacancy = make(chan struct{})
	}
	vacancy := b.vacancy
	b.mu.Unlock()
	defer b.mu.Lock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-vacancy:
		return true
	case <-timer.C:
		return false
	}
}

// post adds a task of the server's own, which never waits.
func (b *inbox) post(c *Client, do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(c, task{do, 0})
}

func (b *inbox) add(c *Client, t task) {
	b.tasks = append(b.tasks, t)
	b.bytes += t.size
	if !b.running {
		b.running = c.server.tasks.Go(b.run)
	}
}

// run does the tasks until there are none.
func (b *inbox) run() {
	for {
		tasks := b.take()
		if tasks == nil {
			return
		}
		for i, t := range tasks {
			tasks[i] = task{}
			t.do()
			b.done(t.size)
		}
	}
}

func (b *inbox) take() []task {
	b.mu.Lock()
	defer b.mu.Unlock()
	tasks := b.tasks
	b.tasks = nil
	b.running = tasks != nil
	return tasks
}

func (b *inbox) done(size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes -= size
	if b.vacancy != nil && size > 0 {
		close(b.vacancy)
		b.vacancy = nil
	}
}
