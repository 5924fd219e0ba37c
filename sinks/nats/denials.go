package nats

import (
	"context"
	"errors"
	"regexp"
	"sync"

	natsgo "github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// denials are the subjects that the server does not let the user publish to. It says so beside the answers to what was published, in a
// message that names the subject only, and the library passes it on in a goroutine of its own: after a confirm, whoever
// published waits with catchUp until what was said before it is noted here.
type denials struct {
	mu sync.Mutex
	// mu guards the fields below.
	last    error          // the newest that was noted
	count   map[string]int // by subject
	changed chan struct{}  // closed, and replaced, by each note
}

// maxDenied bounds the subjects that are remembered.
const maxDenied = 1 << 14

var deniedSubject = regexp.MustCompile(`Publish to "([^"]*)"`)

func (d *denials) init() { d.count, d.changed = map[string]int{}, make(chan struct{}) }

// note is the library's handler of errors. It is called for one at a time, in order. A refusal is news once for each subject.
func (d *denials) note(err error, log zerolog.Logger) {
	d.mu.Lock()
	defer d.mu.Unlock()
	level := zerolog.WarnLevel
	if m := deniedSubject.FindStringSubmatch(err.Error()); m != nil && errors.Is(err, natsgo.ErrPermissionViolation) {
		if len(d.count) >= maxDenied {
			clear(d.count)
		}
		if d.count[m[1]]++; d.count[m[1]] > 1 {
			level = zerolog.DebugLevel
		}
	}
	log.WithLevel(level).Err(err).Msg("NATS server error")
	d.last = err
	close(d.changed)
	d.changed = make(chan struct{})
}

// of returns how often the server has refused a subject.
func (d *denials) of(subject string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count[subject]
}

// catchUp waits until the refusal that conn knows of as the newest is noted, and with it all before.
func (d *denials) catchUp(ctx context.Context, conn *natsgo.Conn) error {
	for {
		d.mu.Lock()
		last, changed := d.last, d.changed
		d.mu.Unlock()
		newest := conn.LastError()
		if !errors.Is(newest, natsgo.ErrPermissionViolation) || newest == last { //nolint:errorlint // this very one
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
