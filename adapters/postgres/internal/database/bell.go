package database

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/evosink/evosink/core/retry"
)

// A Topic is what a bell rings for.
type Topic int

// The topics. heartbeat is the bell's own.
const (
	Entries   Topic = iota // the log has grown
	Leases                 // leases are free, nodes have joined or left
	Instances              // instances were changed
	Queue                  // pauses or jobs were changed
	heartbeat
	topics
)

const (
	// ringPause is the least time between two statements that ring: what comes meanwhile is one.
	ringPause = 2 * time.Millisecond
	// beat is how often the bell rings for itself; it is taken for deaf when it has heard nothing for deafness.
	beat     = 5 * time.Second
	deafness = 12 * time.Second
	// confirmation is how long the first beat behind a LISTEN may take.
	confirmation = 3 * time.Second
	// Those who wait look by themselves every second, or every hundred milliseconds while the bell is deaf.
	heardPoll = time.Second
	deafPoll  = 100 * time.Millisecond
)

// listening has the listener made again after a failure. A pooler that gives every transaction another connection never
// lets it hear anything.
var listening = retry.Backoff{First: 200 * time.Millisecond, Longest: 30 * time.Second, Jitter: 0.5}

// A Bell wakes what waits on this node and on others, by LISTEN and NOTIFY. It carries nothing: who was woken looks at the
// tables, and looks now and then by itself, see [Bell.Poll]. A ring is a statement of its own, after the commit that it
// tells of. It owns two goroutines.
type Bell struct {
	db     *DB
	config *pgx.ConnConfig
	self   string // what tells the rings of this node from others'
	life   context.Context
	end    context.CancelFunc
	done   sync.WaitGroup
	some   chan struct{} // holds a token while asked holds something

	mu sync.Mutex
	// mu guards the fields below.
	rung  [topics]chan struct{} // closed at the next ring
	asked [topics]bool          // to be rung for on other nodes
	heard time.Time             // when something came last; zero while nothing has since the LISTEN
}

func newBell(db *DB, config *pgx.ConnConfig) *Bell {
	b := &Bell{db: db, config: config.Copy(), self: crand.Text(), some: make(chan struct{}, 1)}
	b.life, b.end = context.WithCancel(context.Background())
	for i := range b.rung {
		b.rung[i] = make(chan struct{})
	}
	return b
}

func (b *Bell) start() {
	b.done.Go(b.ring)
	b.done.Go(b.listen)
}

func (b *Bell) close() {
	b.end()
	b.done.Wait()
}

// Rung returns what is closed when the bell rings for a topic, on whichever node.
func (b *Bell) Rung(t Topic) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rung[t]
}

// Ring rings for a topic, on this node at once, on others within milliseconds.
func (b *Bell) Ring(t Topic) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.strike(t)
	b.asked[t] = true
	select {
	case b.some <- struct{}{}:
	default:
	}
}

// strike wakes what waits here. Held: mu.
func (b *Bell) strike(t Topic) {
	close(b.rung[t])
	b.rung[t] = make(chan struct{})
}

// Poll returns after how long to look though nothing has rung.
func (b *Bell) Poll() time.Duration {
	d := deafPoll
	if b.Hears() {
		d = heardPoll
	}
	return d - time.Duration(rand.Int64N(int64(d)/4))
}

// Hears reports whether rings of other nodes arrive.
func (b *Bell) Hears() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Since(b.heard) < deafness
}

func (b *Bell) channel() string { return b.db.options.Schema + "_bell" }

// ring tells other nodes of what was asked for, and beats. What was asked for before the end is told before the end.
func (b *Bell) ring() {
	defer b.tell()
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-b.some:
		case <-ticker.C:
			b.Ring(heartbeat)
			continue
		case <-b.life.Done():
			return
		}
		b.tell()
		if !retry.Sleep(b.life.Done(), ringPause) {
			return
		}
	}
}

// tell rings on other nodes for the topics asked for. A ring that is lost costs them a second: they look by themselves.
func (b *Bell) tell() {
	b.mu.Lock()
	asked := b.asked
	b.asked = [topics]bool{}
	b.mu.Unlock()
	var letters strings.Builder
	for t := range topics {
		if asked[t] {
			letters.WriteByte('a' + byte(t))
		}
	}
	if letters.Len() > 0 {
		args := []any{b.channel(), b.self + " " + letters.String()}
		_, _ = b.db.Leases.Write(context.Background(), "SELECT pg_notify($1, $2)", args)
	}
}

// listen hears rings, on a connection of its own, and makes another one when that breaks or goes silent.
func (b *Bell) listen() {
	for n := 1; b.life.Err() == nil; n++ {
		begun := time.Now()
		err := b.hear()
		b.mu.Lock()
		confirmed := !b.heard.IsZero()
		b.heard = time.Time{}
		b.mu.Unlock()
		if confirmed && time.Since(begun) > deafness {
			n = 1
		}
		if b.life.Err() == nil {
			b.db.logger.Debug().Err(err).Msg("the server's notifications do not arrive; other nodes are looked after by polling")
		}
		if !retry.Sleep(b.life.Done(), listening.Pause(n)) {
			return
		}
	}
}

// hear listens until the connection breaks or has been silent for too long.
func (b *Bell) hear() error {
	connecting, cancel := context.WithTimeout(b.life, b.db.options.Timeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(connecting, b.config)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(closing) // it is left anyway
	}()
	listen := "SET application_name = 'evosink'; LISTEN " + b.channel()
	if _, err := conn.PgConn().Exec(connecting, listen).ReadAll(); err != nil {
		return err
	}
	b.Ring(heartbeat)
	for patience := confirmation; ; patience = deafness {
		waiting, cancel := context.WithTimeout(b.life, patience)
		note, err := conn.WaitForNotification(waiting)
		cancel()
		if pgconn.Timeout(err) {
			return fmt.Errorf("nothing was heard for %v: %w", patience, err)
		}
		if err != nil {
			return err
		}
		b.take(note.Payload)
	}
}

// take wakes what a ring is for. The first one behind a LISTEN is for everything: some may have been missed.
func (b *Bell) take(payload string) {
	from, letters, _ := strings.Cut(payload, " ")
	b.mu.Lock()
	defer b.mu.Unlock()
	first := b.heard.IsZero()
	b.heard = time.Now()
	for t := range topics {
		if first || from != b.self && strings.IndexByte(letters, 'a'+byte(t)) >= 0 {
			b.strike(t)
		}
	}
}

// Wait returns when one of two channels has something or is closed, when it is time to look though nothing has rung, or
// when ctx ends.
func (b *Bell) Wait(ctx context.Context, rung, kicked <-chan struct{}) {
	timer := time.NewTimer(b.Poll())
	defer timer.Stop()
	select {
	case <-rung:
	case <-kicked:
	case <-timer.C:
	case <-ctx.Done():
	}
}
