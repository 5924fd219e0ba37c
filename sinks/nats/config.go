package nats

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// Config is the configuration of the sink. Names, types and defaults of the variables are those of Evolution API where
// it has them; NATS_URL and NATS_GLOBAL_EVENTS are Evolution Go's. Begin with [Defaults].
type Config struct {
	Enabled       bool          `koanf:"enabled" env:"NATS_ENABLED" help:"publish events to NATS"`
	GlobalEnabled bool          `koanf:"global_enabled" env:"NATS_GLOBAL_ENABLED" help:"publish the events of all instances to subjects without the instance's name"`
	Events        sink.Switches `koanf:"events" env:"NATS_EVENTS_*" help:"events of the global subjects, by config name; ALL means all"`
	GlobalEvents  []string      `koanf:"global_events" env:"NATS_GLOBAL_EVENTS" help:"the same as a list, of names or groups of Evolution Go"`

	URI       string `koanf:"uri" env:"NATS_URI,NATS_URL" help:"nats://user:password@host:4222, tls://, ws:// or wss://; several servers with commas; percent-encode reserved characters"`
	Username  string `koanf:"username" env:"NATS_USERNAME" help:"user, instead of the one in uri"`
	Password  string `koanf:"password" env:"NATS_PASSWORD" secret:"true" help:"password of username, as it is"`
	Token     string `koanf:"token" env:"NATS_TOKEN" secret:"true" help:"authentication token"`
	CredsFile string `koanf:"creds_file" env:"NATS_CREDS" help:"file with a user's JWT and seed (.creds)"`
	NKeyFile  string `koanf:"nkey_file" env:"NATS_NKEY" help:"file with an NKey seed"`

	PrefixKey    string `koanf:"prefix_key" env:"NATS_PREFIX_KEY" help:"stands before the global subjects: prefix.messages.upsert"`
	ExchangeName string `koanf:"exchange_name" env:"NATS_EXCHANGE_NAME" help:"not used, as in Evolution API"`
	KeepDots     bool   `koanf:"keep_dots" env:"NATS_KEEP_DOTS" help:"leave dots in names of instances as they are: shop.eu is then two tokens of a subject, as in Evolution API"`

	CustomSubjects []string `koanf:"custom_subjects" env:"NATS_CUSTOM_SUBJECTS" help:"events outside the catalogue that have subjects of their own, instance.custom.name; all others share instance.custom"`

	Timeout        time.Duration `koanf:"timeout" env:"NATS_TIMEOUT" help:"how long the server may take to confirm an event"`
	ConnectTimeout time.Duration `koanf:"connect_timeout" env:"NATS_CONNECT_TIMEOUT" help:"how long connecting may take, handshakes included"`
	WriteTimeout   time.Duration `koanf:"write_timeout" env:"NATS_WRITE_TIMEOUT" help:"how long the server may refuse to read before the connection is given up"`
	PingInterval   time.Duration `koanf:"ping_interval" env:"NATS_PING_INTERVAL" help:"time between pings; two without an answer end the connection"`
	ReconnectMax   time.Duration `koanf:"reconnect_max" env:"NATS_RECONNECT_MAX" help:"longest pause between attempts to connect"`

	JetStream JetStream `koanf:"jetstream"`
	TLS       TLS       `koanf:"tls"`
}

// JetStream says whether events are stored by the server, and in which stream.
type JetStream struct {
	Enabled  bool          `koanf:"enabled" env:"NATS_JETSTREAM_ENABLED" help:"publish to streams and wait until the event is stored"`
	Stream   string        `koanf:"stream" env:"NATS_JETSTREAM_STREAM" help:"create this stream, and add the subjects of instances as their events come; empty: the streams are yours to create"`
	Subjects []string      `koanf:"subjects" env:"NATS_JETSTREAM_SUBJECTS" help:"its subjects, fixed: sales.>, evo.>. No wildcard comes first: the server keeps $JS to itself"`
	MaxAge   time.Duration `koanf:"max_age" env:"NATS_JETSTREAM_MAX_AGE" help:"how long it keeps events; 0 is for ever"`
	MaxBytes int64         `koanf:"max_bytes" env:"NATS_JETSTREAM_MAX_BYTES" help:"most bytes it keeps, the oldest go first; 0 sets no limit"`
	Replicas int           `koanf:"replicas" env:"NATS_JETSTREAM_REPLICAS" help:"on how many servers it keeps them"`
}

// Defaults returns the configuration of an installation that sets nothing.
func Defaults() Config {
	return Config{
		Timeout: 10 * time.Second, ConnectTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second,
		PingInterval: 20 * time.Second, ReconnectMax: 30 * time.Second, JetStream: JetStream{Replicas: 1},
	}
}

// Validate reports everything that is wrong with c, in keys of the section. What a sink that is off would not use is
// not looked at.
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
	_, err := c.servers()
	check(err == nil, "%w", err)
	check((c.Username == "") == (c.Password == ""), "username and password belong together: give both or none")
	ways := 0
	for _, way := range []string{c.Username, c.Token, c.CredsFile, c.NKeyFile} {
		if way != "" {
			ways++
		}
	}
	check(ways <= 1, "username, token, creds_file and nkey_file exclude each other: give one")
	check(c.PrefixKey == "" || literal(c.PrefixKey),
		"prefix_key must be words joined by dots, without white space, * and >")
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"timeout", c.Timeout}, {"connect_timeout", c.ConnectTimeout}, {"write_timeout", c.WriteTimeout},
		{"ping_interval", c.PingInterval}, {"reconnect_max", c.ReconnectMax},
	} {
		check(d.value > 0, "%s must be above 0", d.key)
	}
	errs = append(errs, sink.ValidateCustom("custom_subjects", c.CustomSubjects), c.JetStream.validate(), c.TLS.validate(),
		c.Events.Check("events"))
	return errors.Join(errs...)
}

func (j *JetStream) validate() error {
	switch {
	case j.Stream != "" && !j.Enabled:
		return errors.New("jetstream.stream is given, but jetstream.enabled is off")
	case strings.ContainsAny(j.Stream, " \t\r\n.*>/\\"):
		return errors.New(`jetstream.stream must not contain white space or any of . * > / \`)
	case j.MaxAge < 0 || j.MaxBytes < 0:
		return errors.New("jetstream.max_age and jetstream.max_bytes must not be below 0; 0 sets no limit")
	case j.Replicas < 1 || j.Replicas > 5:
		return errors.New("jetstream.replicas must be from 1 to 5")
	}
	return nil
}

// servers reads URI. Its error repeats nothing of it: wherever the text is wrong, a password may stand.
func (c *Config) servers() ([]*url.URL, error) {
	if c.URI == "" {
		return nil, errors.New("uri is missing: give it as nats://host:4222 (NATS_URI)")
	}
	var out []*url.URL
	for part := range strings.SplitSeq(c.URI, ",") {
		part = strings.TrimSpace(part)
		if !strings.Contains(part, "://") {
			part = "nats://" + part
		}
		u, err := url.Parse(part)
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return nil, errors.New("uri cannot be read: write nats://user:password@host:4222, or tls://, ws:// or wss://, " +
				"several with commas, and percent-encode what is reserved in user and password (@ is %40, a comma is %2C)")
		}
		out = append(out, u)
	}
	return out, nil
}

// rule makes the sink a global one when any event is switched on (evolution.md 3.4).
func (c *Config) rule() sink.Rule { return c.Events.Rule(c.GlobalEnabled, c.GlobalEvents...) }
