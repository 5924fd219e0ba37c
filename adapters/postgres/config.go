package postgres

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Config is everything the engine is told. Begin with [DefaultConfig].
type Config struct {
	// URL is where the server is, "postgres://user:password@host:5432/database"; it may name several hosts. No default.
	URL string `koanf:"url" secret:"true" help:"the server, like postgres://user:password@host:5432/database; several nodes may share it"`
	// Schema has the engine's tables, and nothing else. It is made if it does not exist. Default "evosink".
	Schema string `koanf:"schema" help:"the schema of the engine's tables; made if it does not exist"`
	// Shards is the number of shards, the unit of order and of what nodes share among them. It cannot change in the life
	// of a schema, and is the same on all nodes. Default 16.
	Shards int `koanf:"shards" help:"number of shards; a schema keeps those it was made with"`
	// MaxEventBytes is the size of the largest event, metadata included. Default 16 MiB.
	MaxEventBytes int `koanf:"max_event_bytes" help:"bytes of the largest event that is taken"`
	// MaxQueueBytes bounds the events of this node that wait for a commit; when it is reached, Append waits until its
	// context ends. Default 64 MiB.
	MaxQueueBytes int64 `koanf:"max_queue_bytes" help:"bytes of events that may wait for a commit; then producers wait"`
	// Connections is how many connections a node has at most, beside three for leases and notifications. Default 8.
	Connections int `koanf:"connections" help:"connections of a node at most, beside three for leases and notifications"`
	// Timeout is after how long a statement is given up. Default 10 s.
	Timeout time.Duration `koanf:"timeout" help:"after how long a statement is given up"`
	// LeaseTime is how long a node that died keeps its shards. Default 10 s.
	LeaseTime time.Duration `koanf:"lease_time" help:"how long a node that died keeps its shards"`
	// Retention says how long events stay in the log.
	Retention Retention `koanf:"retention"`
}

// Retention bounds the log. Whichever bound is met first counts; what a group has not acked stays in any case. The oldest
// sixteenth of the log goes at once.
type Retention struct {
	// Age is how long an event stays; 0 means for ever. Default 168 h.
	Age time.Duration `koanf:"age" help:"how long events stay in the log; 0 for ever"`
	// Bytes is how much the log holds of all instances; 0 means without a bound. Default 1 GiB.
	Bytes int64 `koanf:"bytes" help:"bytes of events that the log holds; beyond, the oldest go; 0 without a bound"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Schema: "evosink", Shards: 16, MaxEventBytes: 16 << 20, MaxQueueBytes: 64 << 20, Connections: 8,
		Timeout: 10 * time.Second, LeaseTime: 10 * time.Second,
		Retention: Retention{Age: 168 * time.Hour, Bytes: 1 << 30},
	}
}

// schemas are the names that need no quotes, and leave room for what is put behind them.
var schemas = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,47}$`)

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(c.URL == "", `url must not be empty; it should be like "postgres://user:password@host:5432/database"`)
	wrong(!schemas.MatchString(c.Schema),
		"schema must be 1 to 48 of a-z, 0-9 and _, and not begin with a digit, it is %q", c.Schema)
	wrong(c.Shards < 1 || c.Shards > 1024, "shards must be between 1 and 1024, it is %d", c.Shards)
	wrong(c.MaxEventBytes < 1024 || c.MaxEventBytes > 128<<20,
		"max_event_bytes must be between 1024 and 134217728 (128 MiB), it is %d", c.MaxEventBytes)
	wrong(c.MaxQueueBytes < int64(c.MaxEventBytes),
		"max_queue_bytes must not be below max_event_bytes, it is %d", c.MaxQueueBytes)
	wrong(c.Connections < 2 || c.Connections > 1000, "connections must be between 2 and 1000, it is %d", c.Connections)
	wrong(c.Timeout < time.Second, "timeout must not be below 1s, it is %v", c.Timeout)
	wrong(c.LeaseTime < time.Second, "lease_time must not be below 1s, it is %v", c.LeaseTime)
	wrong(c.Retention.Age < 0, "retention.age must not be below 0, it is %v", c.Retention.Age)
	wrong(c.Retention.Bytes < 0, "retention.bytes must not be below 0, it is %d", c.Retention.Bytes)
	return errors.Join(errs...)
}
