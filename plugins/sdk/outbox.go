package sdk

import (
	"encoding/json"
	"io"
	"sync"
)

// outbox joins answers that come at the same time into few writes. Its goroutine is ended by close.
type outbox struct {
	to   io.Writer
	wake chan struct{}
	done chan struct{}

	mu sync.Mutex
	// mu guards the fields below.
	waiting []byte
	closed  bool
	err     error
}

func newOutbox(to io.Writer) *outbox {
	o := &outbox{to: to, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go o.write()
	return o
}

func (o *outbox) send(r reply) error {
	line, err := json.Marshal(r)
	if err == nil {
		o.put(line)
	}
	return err
}

// ack is send of the most frequent reply. id is as the host gave it.
func (o *outbox) ack(id string) {
	quoted, _ := json.Marshal(id) // a text always marshals
	line := append([]byte(`{"type":"ack","id":`), quoted...)
	o.put(append(line, '}'))
}

func (o *outbox) put(line []byte) {
	o.mu.Lock()
	o.waiting = append(append(o.waiting, line...), '\n')
	o.mu.Unlock()
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) write() {
	defer close(o.done)
	var lines []byte
	for range o.wake {
		o.mu.Lock()
		lines, o.waiting = o.waiting, lines[:0]
		closed, err := o.closed, o.err
		o.mu.Unlock()
		if len(lines) > 0 && err == nil {
			if _, err = o.to.Write(lines); err != nil {
				o.mu.Lock()
				o.err = err
				o.mu.Unlock()
			}
		}
		if closed {
			return
		}
	}
}

// close writes what waits and returns the first error there was.
func (o *outbox) close() error {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.signal()
	<-o.done
	return o.err
}
