package queue

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds the queue. Begin with [DefaultConfig].
type Config struct {
	// Workers is how many attempts of one sink run at once at most. When that many do, instances take turns. Default
	// 4096: an attempt that waits for an answer costs some memory and a socket, no thread.
	Workers int `koanf:"workers" help:"attempts of one sink that run at once at most"`
	// PerInstance is how many attempts of one sink run at once for targets of one instance's own. Default 64.
	PerInstance int `koanf:"per_instance" help:"attempts of one sink that run at once for targets of one instance's own"`
	// PerTarget is how many lanes of one target, or of one address if the sink names addresses, are tried at once.
	// Default 4.
	PerTarget int `koanf:"per_target" help:"lanes of one target that are tried at once at most"`
	// InFlightBytes and InFlightPerInstance bound the events that attempts of one sink hold in memory at once, in all
	// and for one instance, about: one event is tried however large it is, and a sink may make copies. What is over
	// waits for its turn. Default 256 MiB and 32 MiB.
	InFlightBytes       int64 `koanf:"in_flight_bytes" help:"bytes of events that attempts of one sink hold at once"`
	InFlightPerInstance int64 `koanf:"in_flight_per_instance" help:"of them, of one instance"`
	// LaneLimit is how many deliveries may wait in one lane; 0 sets no limit. Default 1,000,000.
	LaneLimit int `koanf:"lane_limit" help:"deliveries that may wait in one lane, 0 for no limit"`
	// TotalLimit is how many may wait in all; 0 sets no limit. Default 10,000,000.
	TotalLimit int `koanf:"total_limit" help:"deliveries that may wait in all, 0 for no limit"`
	// InstanceLimit is how many may wait for one instance; 0 sets no limit. When TotalLimit is reached, instances
	// that hold less than an equal part of it still find room, up to twice the total. Default 2,000,000.
	InstanceLimit int `koanf:"instance_limit" help:"deliveries that may wait for one instance, 0 for no limit"`
	// TotalBytes and InstanceBytes bound what waits in bytes, by the same rules; each delivery counts its event, also
	// where one event waits in several lanes and is stored once. 0 sets no limit. Default 8 GiB and 2 GiB.
	TotalBytes    int64 `koanf:"total_bytes" help:"bytes of the deliveries that may wait in all, 0 for no limit"`
	InstanceBytes int64 `koanf:"instance_bytes" help:"bytes of them that may wait for one instance, 0 for no limit"`
	// WhenFull says what becomes of an event that was taken and finds no room, "reject" or "block". Rejected, it is a
	// dead letter at once. Blocked, its shard stands still until there is room, and its events wait in the bus. Either
	// way [Queue.Room] refuses further ones before they are taken, so this is for those that were under way then.
	// Default "reject".
	WhenFull WhenFull `koanf:"when_full" help:"an event taken without room: a dead letter (reject), or its shard stops (block)"`
	// DropOldest names the events that may be lost when a lane is full: the oldest of them makes room, and without
	// one the new event is dropped if it is of them itself. Default presence and typing.
	DropOldest []string `koanf:"drop_oldest" help:"events that may be dropped when there is no room"`
	// CacheBytes bounds the events that are kept in memory beside the disk, about. Default 32 MiB.
	CacheBytes int `koanf:"cache_bytes" help:"bytes of waiting events that are kept in memory"`

	// BreakerFailures is how many failures in a row, of any lanes, open a target's circuit breaker. Default 5.
	BreakerFailures int `koanf:"breaker_failures" help:"failures in a row that open a target's circuit breaker"`
	// BreakerWait is how long a breaker stays open first; it doubles with each failed probe. Default 1 s.
	BreakerWait time.Duration `koanf:"breaker_wait" help:"how long a circuit breaker stays open first"`
	// BreakerMax is how long it stays open at most. Default 60 s.
	BreakerMax time.Duration `koanf:"breaker_max" help:"how long a circuit breaker stays open at most"`

	// ReplayRate is how many dead letters a replay puts back per second. Default 200.
	ReplayRate int `koanf:"replay_rate" help:"dead letters that a replay puts back per second"`
	// DeadAge, DeadCount and DeadBytes bound the dead letters. When there are too many, or too many bytes of them, the
	// oldest of the instances that have most go. 0 bytes set no limit. Default 720 h, 1,000,000 and 1 GiB.
	DeadAge   time.Duration `koanf:"dead_age" help:"how long dead letters are kept"`
	DeadCount int           `koanf:"dead_count" help:"how many dead letters are kept"`
	DeadBytes int64         `koanf:"dead_bytes" help:"bytes of dead letters that are kept, 0 for no limit"`
	// AttemptAge and AttemptCount bound the log of attempts. Default 72 h and 100,000.
	AttemptAge   time.Duration `koanf:"attempt_age" help:"how long attempts are kept"`
	AttemptCount int           `koanf:"attempt_count" help:"how many attempts are kept"`
}

// WhenFull says what becomes of an event that finds no room.
type WhenFull string

// What becomes of an event that finds no room.
const (
	Reject WhenFull = "reject"
	Block  WhenFull = "block"
)

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Workers: 4096, PerInstance: 64, PerTarget: 4, InFlightBytes: 256 << 20, InFlightPerInstance: 32 << 20,
		LaneLimit: 1_000_000, TotalLimit: 10_000_000, InstanceLimit: 2_000_000, TotalBytes: 8 << 30, InstanceBytes: 2 << 30,
		WhenFull:   Reject,
		DropOldest: []string{"presence.update", "Presence", "ChatPresence"}, CacheBytes: 32 << 20,
		BreakerFailures: 5, BreakerWait: time.Second, BreakerMax: time.Minute,
		ReplayRate: 200, DeadAge: 720 * time.Hour, DeadCount: 1_000_000, DeadBytes: 1 << 30,
		AttemptAge: 72 * time.Hour, AttemptCount: 100_000,
	}
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	errs := []error{
		atLeast("workers", c.Workers, 1), atLeast("per_instance", c.PerInstance, 1), atLeast("per_target", c.PerTarget, 1),
		atLeast("in_flight_bytes", c.InFlightBytes, 1), atLeast("in_flight_per_instance", c.InFlightPerInstance, 1),
		atLeast("lane_limit", c.LaneLimit, 0), atLeast("total_limit", c.TotalLimit, 0),
		atLeast("instance_limit", c.InstanceLimit, 0), atLeast("total_bytes", c.TotalBytes, 0),
		atLeast("instance_bytes", c.InstanceBytes, 0), atLeast("cache_bytes", c.CacheBytes, 0),
		atLeast("breaker_failures", c.BreakerFailures, 1), atLeast("breaker_wait", c.BreakerWait, time.Millisecond),
		atLeast("breaker_max", c.BreakerMax, c.BreakerWait), atLeast("replay_rate", c.ReplayRate, 1),
		atLeast("dead_age", c.DeadAge, 0), atLeast("dead_count", c.DeadCount, 0), atLeast("dead_bytes", c.DeadBytes, 0),
		atLeast("attempt_age", c.AttemptAge, 0), atLeast("attempt_count", c.AttemptCount, 0),
	}
	if c.WhenFull != Reject && c.WhenFull != Block {
		errs = append(errs, fmt.Errorf("when_full must be %q or %q, it is %q", Reject, Block, c.WhenFull))
	}
	return errors.Join(errs...)
}

func atLeast[N int | int64 | time.Duration](key string, value, low N) error {
	if value < low {
		return fmt.Errorf("%s must be at least %v, it is %v", key, low, value)
	}
	return nil
}

// retention says what the store keeps beside what waits. How long delivered events are remembered is no
// setting: it must outlast a bus that delivers again after a crash, and should stay small on the disk.
func (c Config) retention() Retention {
	return Retention{
		LetterAge: c.DeadAge, Letters: c.DeadCount, LetterBytes: c.DeadBytes,
		AttemptAge: c.AttemptAge, Attempts: c.AttemptCount,
		SeenAge: 10 * time.Minute, Seen: 1 << 16, SeenBytes: 64 << 20,
	}
}
