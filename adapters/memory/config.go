package memory

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds what the engine keeps. Begin with [DefaultConfig].
type Config struct {
	// Shards is the number of shards. Default 16.
	Shards int `koanf:"shards" help:"number of shards, the unit of order"`
	// MaxEvents is how many events the log holds at most. Default 65,536.
	MaxEvents int `koanf:"max_events" help:"events that the log holds at most"`
	// MaxBytes is how many bytes of events the log holds at most. Default 64 MiB.
	MaxBytes int `koanf:"max_bytes" help:"bytes of events that the log holds at most"`
	// MaxEventBytes is the size of the largest event, metadata included. Default 16 MiB.
	MaxEventBytes int `koanf:"max_event_bytes" help:"bytes of the largest event that is taken"`

	// LeaseTime is how long a node has a shard that does not renew its lease. Default 10 s.
	LeaseTime time.Duration `koanf:"-"`
	// Clock tells the time by which leases end. Default time.Now.
	Clock func() time.Time `koanf:"-"`
}

func (c Config) lease() time.Duration {
	if c.LeaseTime == 0 {
		return 10 * time.Second
	}
	return c.LeaseTime
}

func (c Config) now() func() time.Time {
	if c.Clock == nil {
		return time.Now
	}
	return c.Clock
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Shards: 16, MaxEvents: 1 << 16, MaxBytes: 64 << 20, MaxEventBytes: 16 << 20}
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var lease error
	if c.LeaseTime < 0 || c.LeaseTime > time.Hour {
		lease = fmt.Errorf("the LeaseTime must be between 0 and %v, it is %v", time.Hour, c.LeaseTime)
	}
	return errors.Join(
		lease,
		between("shards", c.Shards, 1, 1024),
		between("max_events", c.MaxEvents, 1, 1<<30),
		between("max_event_bytes", c.MaxEventBytes, 1, 1<<30),
		between("max_bytes", c.MaxBytes, max(1, c.MaxEventBytes), 1<<40),
	)
}

func between(key string, value, low, high int) error {
	if value < low || value > high {
		return fmt.Errorf("%s must be between %d and %d, it is %d", key, low, high, value)
	}
	return nil
}
