package file

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	// clockStep is by how much the wall clock may be ahead of what has passed and still be followed at once, and
	// clockJump by how much it must be ahead to be logged.
	clockStep = 10 * time.Millisecond
	clockJump = time.Minute
	// clockGrace is for how long a wall clock that has jumped ahead must stay there to be believed: long enough for
	// the warning to be seen.
	clockGrace = 6 * time.Hour
)

// A Clock tells the time by which things grow old enough to be removed. The wall clock alone does not decide that: a
// time server that is wrong for a moment would remove everything. It follows the wall clock back at once, and
// ahead as fast as time has really passed, which the monotonic clock tells. When the wall clock has jumped further
// ahead it is believed after [clockGrace]; so is one that is ahead of everything in the file at the start, be it
// because it is wrong or because the file was closed for long. Any number of goroutines may use it at once.
type Clock struct {
	mono func() time.Duration // since any moment
	log  zerolog.Logger

	mu sync.Mutex
	// mu guards the fields below.
	wall     func() time.Time
	told     time.Time     // the time last told
	at       time.Duration // mono of that
	ahead    time.Duration // by how much the wall clock has jumped ahead of it; 0 if it has not
	jumpedAt time.Duration // mono of that
	base     time.Time     // a moment with the readings of both clocks, see Monotonic
}

// newClock returns a clock that begins with the last time that is known, the zero time if none is, or with the wall
// clock if that is behind.
func newClock(last time.Time, wall func() time.Time, mono func() time.Duration, log zerolog.Logger) *Clock {
	c := &Clock{wall: wall, mono: mono, log: log, told: last, at: mono(), base: time.Now()}
	now := wall()
	if last.IsZero() || now.Before(last) {
		c.told = now
	} else if lead := now.Sub(last); lead > clockJump {
		c.ahead, c.jumpedAt = lead, c.at
		if lead > 24*time.Hour {
			c.log.Warn().Dur("by", lead).Dur("believed_after", clockGrace).
				Msg("the clock is far ahead of the last time in the file; " +
					"nothing is removed for its age because of that for a while")
		}
	}
	return c
}

// Turn has the clock take the wall clock from a function.
func (c *Clock) Turn(wall func() time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = wall
}

// Now returns the time. It is never further ahead of an earlier answer than time has passed since, with a thousandth
// for clocks that are slowly corrected, except at the end of the grace.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, mono := c.wall().Round(0), c.mono()
	passed := mono - c.at
	limit := c.told.Add(passed + passed/1000)
	lead := wall.Sub(limit)
	c.at = mono
	switch {
	case lead <= clockStep:
		if c.ahead > 0 {
			c.log.Info().Msg("the clock agrees with the time that has passed again")
		}
		c.told, c.ahead = wall, 0
		return c.told
	case lead <= clockJump:
		c.ahead = 0
	case c.ahead == 0 || (lead-c.ahead).Abs() > clockJump:
		c.ahead, c.jumpedAt = lead, mono
		c.log.Warn().Dur("by", lead).Dur("believed_after", clockGrace).
			Msg("the clock has jumped ahead; nothing is removed for its age because of that for a while. " +
				"Check the time of this machine")
	case mono-c.jumpedAt >= clockGrace:
		c.log.Info().Dur("by", lead).Msg("the clock has stayed ahead and is believed now; what is old by it is removed")
		c.told, c.ahead = wall, 0
		return c.told
	}
	c.told = limit
	return c.told
}

// Monotonic returns a function that gives times which were read from the file a monotonic reading, so that their age is
// told by what has passed, whatever becomes of the wall clock. As long as the clocks agree it gives the same time the
// same reading.
func (c *Clock) Monotonic() func(stored time.Time) time.Time {
	told, now := c.Now(), time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ahead > 0 {
		return func(stored time.Time) time.Time { return now.Add(stored.Sub(told)) }
	}
	if apart := now.Round(0).Sub(c.base.Round(0)) - now.Sub(c.base); apart.Abs() > clockStep {
		c.base = now
	}
	base := c.base
	return func(stored time.Time) time.Time { return base.Add(stored.Sub(base.Round(0))) }
}

// clockKey is the key of the time that the clock told last, and clockSaves is how often that is stored, with whatever
// is stored then.
const (
	clockKey   = "clock"
	clockSaves = 10 * time.Minute
)

// saveClock stores the time that the clock tells.
func (t *Tx) saveClock() error {
	_, err := t.Exec("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
		clockKey, t.writer.clock.Now().UnixMilli())
	return err
}

// openClock returns the clock of a file. It goes on from the last time that is stored, or from that of the newest entry
// if an older version of this program has written the file.
func openClock(ctx context.Context, conn *sql.Conn, log zerolog.Logger) (*Clock, error) {
	var last UnixMilli
	err := conn.QueryRowContext(ctx, `SELECT coalesce((SELECT value FROM meta WHERE key = ?),
		(SELECT time FROM log ORDER BY position DESC LIMIT 1), 0)`, clockKey).Scan(&last)
	if err != nil {
		return nil, fmt.Errorf("read when the file was last written: %w", err)
	}
	begin := time.Now()
	return newClock(time.Time(last), time.Now, func() time.Duration { return time.Since(begin) }, log), nil
}
