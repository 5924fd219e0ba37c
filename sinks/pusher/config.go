package pusher

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// Config is the configuration of the sink. Names, types and defaults of the variables are those of Evolution API (evolution.md
// 3.6) where it has them. Begin with [Defaults].
type Config struct {
	Enabled       bool          `koanf:"enabled" env:"PUSHER_ENABLED" help:"trigger events on Pusher Channels"`
	GlobalEnabled bool          `koanf:"global_enabled" env:"PUSHER_GLOBAL_ENABLED" help:"trigger the events of all instances on the global app"`
	Events        sink.Switches `koanf:"events" env:"PUSHER_EVENTS_*" help:"events of the global app, by config name; ALL means all"`

	AppID   string `koanf:"global_app_id" env:"PUSHER_GLOBAL_APP_ID" help:"id of the global app"`
	Key     string `koanf:"global_key" env:"PUSHER_GLOBAL_KEY" help:"its key"`
	Secret  string `koanf:"global_secret" env:"PUSHER_GLOBAL_SECRET" secret:"true" help:"its secret"`
	Cluster string `koanf:"global_cluster" env:"PUSHER_GLOBAL_CLUSTER" help:"its cluster, like sa1"`
	UseTLS  bool   `koanf:"global_use_tls" env:"PUSHER_GLOBAL_USE_TLS" help:"talk https to the global app's cluster, or to host"`

	Host          string        `koanf:"host" env:"PUSHER_HOST" help:"host:port of a server of your own that speaks Pusher's protocol, for all apps; empty: Pusher's, by cluster"`
	MaxEventBytes int           `koanf:"max_event_bytes" env:"PUSHER_MAX_EVENT_BYTES" help:"largest event; a larger one is reduced, and if it is still too large becomes a dead letter"`
	Timeout       time.Duration `koanf:"timeout" env:"PUSHER_TIMEOUT_MS" help:"how long one request may take"`
}

// Defaults returns the configuration of an installation that sets nothing.
func Defaults() Config {
	return Config{MaxEventBytes: 10 << 10, Timeout: 20 * time.Second}
}

// Validate reports everything that is wrong with c, in keys of the section. What a sink that is off would not use is not looked at.
func (c *Config) Validate() error {
	if !c.Enabled {
		return nil
	}
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if c.GlobalEnabled {
		errs = append(errs, c.global().check(globalNames, c.Host != ""))
	}
	check(c.Host == "" || hostForm.MatchString(c.Host), "host must be a host, or host:port")
	check(c.MaxEventBytes >= 1<<10, "max_event_bytes must be at least 1024")
	check(c.Timeout > 0, "timeout must be above 0")
	errs = append(errs, c.Events.Check("events"))
	return errors.Join(errs...)
}

// globalNames are the user's for the fields of the global app.
var globalNames = map[string]string{"appId": "global_app_id", "key": "global_key", "secret": "global_secret", "cluster": "global_cluster"}

func (c *Config) global() app {
	return app{ID: c.AppID, Key: c.Key, Secret: c.Secret, Cluster: c.Cluster, UseTLS: c.UseTLS}
}

// rule makes the sink a global one when any event is switched on (evolution.md 3.6).
func (c *Config) rule() sink.Rule { return c.Events.Rule(c.GlobalEnabled) }

var hostForm = regexp.MustCompile(`^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)
