package eventlog

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/evosink/evosink/adapters/postgres/internal/database"
	"github.com/evosink/evosink/adapters/postgres/internal/lease"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/retry"
)

const (
	// cursorDelay is how long acks are gathered before they are stored. So much, and what was acked out of order, a group
	// may be given again after a crash.
	cursorDelay = 100 * time.Millisecond
	// cursorPause is the delay after a failure.
	cursorPause = time.Second
	// turnPause is after how long a subscription looks again whether a shard is free.
	turnPause = time.Second
)

// cursors stores where groups are, some time after their acks, and says which process reads a shard for a group: the one
// that has the shard's lease of the group, which its node has acquired, or which it acquires itself for a subscription.
// It owns one goroutine.
type cursors struct {
	log  *Log
	stop chan struct{}
	done chan struct{}
	some chan struct{} // holds a token while dirty may hold something

	mu sync.Mutex
	// mu guards the field below.
	dirty map[*tail.Reader]int64 // the epoch of the turn in which it has moved
}

func newCursors(l *Log) *cursors {
	return &cursors{
		log: l, stop: make(chan struct{}), done: make(chan struct{}), some: make(chan struct{}, 1),
		dirty: map[*tail.Reader]int64{},
	}
}

func (c *cursors) start() { go c.run() }

// enter implements Enter of [tail.Log].
func (c *cursors) enter(ctx context.Context, r *tail.Reader) (held context.Context, at int64, leave func(), ok bool) {
	for ctx.Err() == nil {
		changed := c.log.leases.Changed()
		h, ok, err := c.log.leases.Hold(ctx, r.Group, r.Shard)
		if ok {
			if at, err = c.begin(ctx, r); err == nil {
				held, leave := c.turn(ctx, r, h)
				return held, at, leave, true
			}
			c.log.leases.Let(context.WithoutCancel(ctx), h)
		}
		if err != nil && ctx.Err() == nil {
			c.log.logger.Warn().Err(err).Str("group", r.Group).Int("shard", r.Shard).Msg("a group cannot go on in a shard yet")
		}
		timer := time.NewTimer(turnPause - time.Duration(rand.Int64N(int64(turnPause)/4)))
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil, 0, nil, false
}

// begin returns where a group stands in a shard. A group that is new there stands before the first entry.
func (c *cursors) begin(ctx context.Context, r *tail.Reader) (at int64, err error) {
	_, err = c.log.db.Write(ctx, `INSERT INTO @.cursors AS c (grp, shard, position, seen) VALUES ($1, $2, 0, clock_timestamp())
		ON CONFLICT (grp, shard) DO UPDATE SET seen = clock_timestamp() RETURNING c.position`, []any{[]byte(r.Group), r.Shard}, &at)
	return at, err
}

// turn returns the context of a turn that begins, and what ends it.
func (c *cursors) turn(ctx context.Context, r *tail.Reader, h *lease.Held) (held context.Context, leave func()) {
	c.mu.Lock()
	delete(c.dirty, r) // of a former turn
	c.mu.Unlock()
	held, cancel := context.WithCancel(ctx)
	detach := context.AfterFunc(h, cancel)
	return held, func() {
		detach()
		cancel()
		if h.Err() == nil {
			_ = c.store() // what is not stored is given to the group again
		}
		c.log.leases.Let(context.WithoutCancel(ctx), h)
	}
}

// moved implements Moved of [tail.Log].
func (c *cursors) moved(r *tail.Reader) {
	if r.Group == "" {
		return
	}
	epoch := c.log.leases.Epoch(r.Group, r.Shard)
	c.mu.Lock()
	c.dirty[r] = epoch
	c.mu.Unlock()
	c.wake()
}

func (c *cursors) wake() {
	select {
	case c.some <- struct{}{}:
	default:
	}
}

// run stores what is dirty until close. While nothing is, it waits without a timer.
func (c *cursors) run() {
	defer close(c.done)
	for delay := cursorDelay; ; {
		select {
		case <-c.some:
		case <-c.stop:
			return
		}
		if !retry.Sleep(c.stop, delay) {
			return
		}
		delay = cursorDelay
		if err := c.store(); err != nil {
			delay = cursorPause
			c.log.logger.Warn().Err(err).Msg("where groups are could not be stored yet")
		}
	}
}

// store stores where the dirty readers are. After an error they are dirty again.
func (c *cursors) store() error {
	c.mu.Lock()
	dirty := c.dirty
	c.dirty = map[*tail.Reader]int64{}
	c.mu.Unlock()
	var groups [][]byte
	var shards []int32
	var epochs, positions []int64
	for r, epoch := range dirty {
		if epoch > 0 { // else its turn has ended
			groups, shards = append(groups, []byte(r.Group)), append(shards, int32(r.Shard))
			epochs, positions = append(epochs, epoch), append(positions, r.Position())
		}
	}
	if len(groups) == 0 {
		return nil
	}
	var stale []int32 // places in the arrays
	_, err := c.log.db.Write(context.Background(), "SELECT @.cursors_move($1, $2, $3, $4)",
		[]any{groups, shards, epochs, positions}, &stale)
	if err != nil {
		c.mu.Lock()
		for r, epoch := range dirty {
			if _, again := c.dirty[r]; !again {
				c.dirty[r] = epoch
			}
		}
		c.mu.Unlock()
		c.wake()
		return err
	}
	for _, i := range stale {
		c.log.leases.Lost(string(groups[i-1]), int(shards[i-1]), epochs[i-1])
	}
	return nil
}

// close ends run, and stores what is dirty.
func (c *cursors) close() {
	close(c.stop)
	<-c.done
	_ = c.store() // what is not stored is given to the group again
}

// Move says that a cursor is stored, so that the ack of what is before it costs nothing.
func (l *Log) Move(c bus.Cursor) { l.tail.Readers.Move(c) }

// How often Reached looks at the database.
const (
	reachedFirst   = 20 * time.Millisecond
	reachedLongest = 500 * time.Millisecond
)

// Reached implements [bus.Bus]. What another node has acked is known a little later.
func (l *Log) Reached(ctx context.Context, c bus.Cursor) error {
	for wait := reachedFirst; ; wait = min(2*wait, reachedLongest) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if reached, err := l.reached(ctx, c); reached || err != nil {
			return err
		}
		looking, cancel := context.WithTimeout(ctx, wait)
		err := l.node.Reached(looking, c) // on this node
		cancel()
		if err == nil {
			return nil
		}
	}
}

func (l *Log) reached(ctx context.Context, c bus.Cursor) (reached bool, err error) {
	_, err = l.db.One(ctx, "SELECT position >= $3 FROM @.cursors WHERE grp = $1 AND shard = $2",
		[]any{[]byte(c.Group), c.Shard, int64(c.Position)}, &reached)
	if database.Temporary(err) && ctx.Err() == nil {
		return false, nil
	}
	return reached, err
}

// groups calls f with where each group stands in each shard that it has read, and whether a node reads it now.
func (l *Log) groups(ctx context.Context, f func(c bus.Cursor, open bool, seen time.Duration)) error {
	return l.db.Each(ctx, func(rows pgx.Rows) error {
		var c bus.Cursor
		var group []byte
		var open bool
		var seen float64
		err := rows.Scan(&group, &c.Shard, &c.Position, &open, &seen)
		if c.Group = string(group); err == nil {
			f(c, open, time.Duration(seen*float64(time.Second)))
		}
		return err
	}, `SELECT c.grp, c.shard, c.position, l.node IS NOT NULL AND l.until > clock_timestamp(),
			extract(epoch FROM clock_timestamp() - c.seen)::double precision
		FROM @.cursors c LEFT JOIN @.leases l ON l.grp = c.grp AND l.shard = c.shard`)
}
