package sqlite

import (
	"errors"
	"fmt"
	"time"
)

// Config is everything the engine is told. Begin with [DefaultConfig].
type Config struct {
	// Path is the database file. Its directory is made with mode 0700, the file with 0600. Default "data/evosink.db".
	Path string `koanf:"path" help:"the database file; directory and file are made if they do not exist"`
	// Shards is the number of shards, the unit of order and of concurrency behind the log. It cannot change
	// in the life of a file. Default 16.
	Shards int `koanf:"shards" help:"number of shards; a file keeps those it was made with"`
	// MaxEventBytes is the size of the largest event, metadata included. Default 16 MiB.
	MaxEventBytes int `koanf:"max_event_bytes" help:"bytes of the largest event that is taken"`
	// MaxQueueBytes bounds the writes that wait for the disk; when it is reached, Publish waits until its context
	// ends. Default 64 MiB.
	MaxQueueBytes int64 `koanf:"max_queue_bytes" help:"bytes of writes that may wait for the disk; then producers wait"`
	// ReserveBytes is disk space that is kept for writing down what was delivered, and for removing it, when the disk
	// is full; at most a sixteenth of the disk is taken. 0 keeps none. Default 32 MiB.
	ReserveBytes int64 `koanf:"reserve_bytes" help:"bytes of disk kept for the time when the disk is full, at most a sixteenth of it; 0 for none"`
	// AcceptDamage goes on with a damaged file, after a copy of it was made. Default false.
	AcceptDamage bool `koanf:"accept_damage" help:"go on with a damaged file and without what it has lost; a copy is made first"`
	// Retention says how long events stay in the log.
	Retention Retention `koanf:"retention"`
}

// Retention bounds the log. Whichever bound is met first counts; what a group has not acked stays in any case, and so
// does the newest event.
type Retention struct {
	// Age is how long an event stays; 0 means for ever. Default 168 h.
	Age time.Duration `koanf:"age" help:"how long events stay in the log; 0 for ever"`
	// Bytes is how much the log holds of all instances; 0 means without a bound. Beyond it the oldest events go of the
	// instances that hold most, so one that holds less than an equal part keeps its events for as long as Age says.
	// Default 1 GiB.
	Bytes int64 `koanf:"bytes" help:"bytes of events that the log holds; beyond, the oldest go of the instances that hold most; 0 without a bound"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Path: "data/evosink.db", Shards: 16, MaxEventBytes: 16 << 20, MaxQueueBytes: 64 << 20, ReserveBytes: 32 << 20,
		Retention: Retention{Age: 168 * time.Hour, Bytes: 1 << 30},
	}
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(c.Path == "", `path must not be empty; give a file, like "data/evosink.db"`)
	wrong(c.Shards < 1 || c.Shards > 1024, "shards must be between 1 and 1024, it is %d", c.Shards)
	wrong(c.MaxEventBytes < 1024 || c.MaxEventBytes > 512<<20,
		"max_event_bytes must be between 1024 and 536870912 (512 MiB), it is %d", c.MaxEventBytes)
	wrong(c.MaxQueueBytes < int64(c.MaxEventBytes),
		"max_queue_bytes must not be below max_event_bytes, it is %d", c.MaxQueueBytes)
	wrong(c.ReserveBytes < 0, "reserve_bytes must not be below 0, it is %d", c.ReserveBytes)
	wrong(c.Retention.Age < 0, "retention.age must not be below 0, it is %v", c.Retention.Age)
	wrong(c.Retention.Bytes < 0, "retention.bytes must not be below 0, it is %d", c.Retention.Bytes)
	return errors.Join(errs...)
}
