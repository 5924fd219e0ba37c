package exec

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/plugins/exec/wire"
)

// Config is the section of all plugins; it stands at the top of the file.
type Config struct {
	Dir     string            `koanf:"plugin_dir" env:"PLUGIN_DIR" help:"folder of plugins; an executable in it with a manifest <name>.json beside it is a sink"`
	Plugins map[string]Plugin `koanf:"plugins" env:"PLUGIN_*__*" help:"sinks that run as their own process, by name; PLUGIN_<NAME>__<KEY> sets config.<key>"`
}

// A Plugin is the configuration of one. A manifest beside the executable gives what is not set here, see [Manifest].
type Plugin struct {
	Enabled bool     `koanf:"enabled" help:"run it; default true"`
	Command string   `koanf:"command" help:"the executable: absolute, or a name in plugin_dir; default is what the manifest there says"`
	Args    []string `koanf:"args" help:"arguments"`
	SHA256  string   `koanf:"sha256" help:"checksum that the executable must have"`
	Env     []string `koanf:"env" help:"names of variables that the plugin may see, beside PATH, HOME, LANG, LC_ALL, LC_CTYPE, TZ and TMPDIR"`
	Mode    string   `koanf:"mode" help:"queued: every event at least once, in order, kept while the plugin is down; live: at most once; default queued"`

	Global *bool    `koanf:"global" help:"deliver the events of all instances, not only of those that set the sink; default false"`
	Events []string `koanf:"events" help:"events of the global target, in any spelling; default all"`

	MaxInFlight  int           `koanf:"max_in_flight" help:"deliveries that the plugin works on at once at most; 0, the default, lets the plugin say"`
	StartTimeout time.Duration `koanf:"start_timeout" help:"how long it may take to answer init; default 10s"`
	Timeout      time.Duration `koanf:"timeout" help:"how long one event may take; default 30s"`
	StopTimeout  time.Duration `koanf:"stop_timeout" help:"how long it may take to end once it has drained; default 5s"`
	PingInterval time.Duration `koanf:"ping_interval" help:"how often it is asked whether it is alive; default 10s"`
	MaxEvent     int           `koanf:"max_event_bytes" help:"largest line that is sent; a larger event is a dead letter; default 16 MiB and 64 KiB"`

	Restart Restart        `koanf:"restart"`
	Retry   Retry          `koanf:"retry"`
	Config  map[string]any `koanf:"config" env:"*" help:"the plugin's own configuration, checked by its schema"`

	dir      string    // of Config, absolute
	manifest *Manifest // what was found beside the executable, or nil
}

// Restart says when a plugin that has ended is started again.
type Restart struct {
	Min    time.Duration `koanf:"min" help:"wait before the first restart; it doubles; default 1s"`
	Max    time.Duration `koanf:"max" help:"longest wait; default 60s"`
	Limit  int           `koanf:"limit" help:"restarts within the window after which the sink is failing; it goes on to be restarted; default 5"`
	Window time.Duration `koanf:"window" help:"how long a restart counts; default 5m"`
}

// Retry is the policy of deliveries that the plugin did not acknowledge, see [sink.Policy].
type Retry struct {
	Attempts    int           `koanf:"max_attempts" help:"attempts in all, 0 for no limit but max_age; default 10"`
	Base        time.Duration `koanf:"initial_delay" help:"wait after the first failure; it doubles; default 5s"`
	Max         time.Duration `koanf:"max_delay" help:"longest wait; default 5m"`
	MaxAge      time.Duration `koanf:"max_age" help:"how old an event may be and still be tried again, 0 for no limit; default 72h"`
	OnExhausted string        `koanf:"on_exhausted" help:"what becomes of an event after that: dead, or pause the target; default dead"`
}

// Modes of a plugin.
const (
	queued = "queued"
	live   = "live"
)

// Defaults fills a new plugin.
func (p *Plugin) Defaults() {
	policy := sink.DefaultPolicy()
	*p = Plugin{
		Enabled: true, StartTimeout: 10 * time.Second, Timeout: 30 * time.Second, StopTimeout: 5 * time.Second, PingInterval: 10 * time.Second,
		MaxEvent: 16<<20 + 64<<10,
		Restart:  Restart{Min: time.Second, Max: time.Minute, Limit: 5, Window: 5 * time.Minute},
		Retry:    Retry{Attempts: policy.Attempts, Base: policy.Base, Max: policy.Max, MaxAge: policy.MaxAge, OnExhausted: policy.OnExhausted.String()},
	}
}

// DefaultPlugin returns a plugin with its defaults.
func DefaultPlugin() Plugin {
	var p Plugin
	p.Defaults()
	return p
}

// names are what may stand in a route, a variable and a configuration.
var names = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

var checksum = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

// Validate reports everything that is wrong with c, by the user's keys.
func (c *Config) Validate() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Plugins)) {
		p := c.Plugins[name]
		for _, err := range append(checkName(name), p.check()...) {
			errs = append(errs, fmt.Errorf("plugins.%s%w", name, err))
		}
	}
	return errors.Join(errs...)
}

func checkName(name string) []error {
	if names.MatchString(name) {
		return nil
	}
	return []error{errors.New(": a plugin's name begins with a lower-case letter and has letters, digits, - and _, at most 32")}
}

// Validate reports everything that is wrong with p, by its keys.
func (p *Plugin) Validate() error { return errors.Join(p.check()...) }

// check returns errors that begin with a dot and the key.
func (p *Plugin) check() (errs []error) {
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("."+format, args...))
		}
	}
	check(p.Mode == "" || p.Mode == queued || p.Mode == live, "mode must be %q or %q, not %q", queued, live, p.Mode)
	check(p.SHA256 == "" || checksum.MatchString(p.SHA256), "sha256 must be 64 hexadecimal digits")
	check(p.MaxInFlight >= 0 && p.MaxInFlight <= wire.MaxInFlight, "max_in_flight must be from 0 to %d", wire.MaxInFlight)
	check(p.StartTimeout > 0, "start_timeout must be above 0")
	check(p.Timeout > 0, "timeout must be above 0")
	check(p.StopTimeout > 0, "stop_timeout must be above 0")
	check(p.PingInterval > 0, "ping_interval must be above 0")
	check(p.MaxEvent >= 4<<10, "max_event_bytes must be at least 4096")
	check(p.Restart.Min > 0, "restart.min must be above 0")
	check(p.Restart.Max >= p.Restart.Min, "restart.max must not be below restart.min")
	check(p.Restart.Limit > 0, "restart.limit must be above 0")
	check(p.Restart.Window > 0, "restart.window must be above 0")
	check(p.Retry.Attempts >= 0, "retry.max_attempts must not be negative")
	check(p.Retry.Base > 0, "retry.initial_delay must be above 0")
	check(p.Retry.Max >= p.Retry.Base, "retry.max_delay must not be below retry.initial_delay")
	check(p.Retry.MaxAge >= 0, "retry.max_age must not be negative")
	if err := new(sink.Exhausted).UnmarshalText([]byte(p.Retry.OnExhausted)); err != nil {
		check(false, "retry.%w", err)
	}
	check(p.Command == "" || filepath.IsAbs(p.Command) || filepath.IsLocal(p.Command), "command must be absolute or a file in plugin_dir")
	for _, name := range p.Events {
		if (sink.Switches{name: true}).Check("") != nil {
			check(false, "events: there is no event %.40q", name)
		}
	}
	return errs
}

// policy is the retry policy. An attempt may wait for its place in the window for as long as it may take then.
func (p *Plugin) policy() sink.Policy {
	d := sink.DefaultPolicy()
	d.Attempts, d.Base, d.Max, d.MaxAge = p.Retry.Attempts, p.Retry.Base, p.Retry.Max, p.Retry.MaxAge
	_ = d.OnExhausted.UnmarshalText([]byte(p.Retry.OnExhausted)) // checked before
	d.Timeout = 2*p.Timeout + time.Second
	return d
}

// CheckName reports whether a plugin may have that name.
func CheckName(name string) error {
	for _, err := range checkName(name) {
		return fmt.Errorf("%q%w", name, err)
	}
	return nil
}
