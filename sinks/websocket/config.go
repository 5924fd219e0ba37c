package websocket

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/remote"
)

// Config configures the sink. Begin with [DefaultConfig].
type Config struct {
	Enabled        bool          `koanf:"enabled" env:"WEBSOCKET_ENABLED" help:"Serve events to socket.io clients."`
	GlobalEvents   bool          `koanf:"global_events" env:"WEBSOCKET_GLOBAL_EVENTS" help:"Emit every event of every instance on the namespace / (global mode)."`
	AllowedHosts   []string      `koanf:"allowed_hosts" env:"WEBSOCKET_ALLOWED_HOSTS" help:"Clients that need no key: addresses and CIDR ranges, the word none, or * for every loopback and private address; and names by which they may call the server, beside localhost. Not through a proxy, nor from a page of another origin. Not set: none; loopback if there is no AUTHENTICATION_API_KEY and only loopback is listened on."`
	TrustedProxies []string      `koanf:"trusted_proxies" env:"WEBSOCKET_TRUSTED_PROXIES" help:"Addresses and CIDR ranges of proxies whose X-Forwarded-For tells the client's address, beside those of SERVER_TRUSTED_PROXIES."`
	CheckOrigin    bool          `koanf:"check_origin" env:"WEBSOCKET_CHECK_ORIGIN" help:"Refuse browsers whose page's origin is neither in CORS_ORIGIN nor the server's own, by polling and websocket alike."`
	PingInterval   time.Duration `koanf:"ping_interval" env:"WEBSOCKET_PING_INTERVAL" help:"Time between heartbeats."`
	PingTimeout    time.Duration `koanf:"ping_timeout" env:"WEBSOCKET_PING_TIMEOUT" help:"How long a client may take to answer a heartbeat."`
	ConnectTimeout time.Duration `koanf:"connect_timeout" env:"WEBSOCKET_CONNECT_TIMEOUT" help:"How long a connection may last without having joined a namespace."`
	MaxPayload     int           `koanf:"max_payload" env:"WEBSOCKET_MAX_PAYLOAD" help:"Largest message taken from a client, in bytes."`
	QueueBytes     int           `koanf:"queue_bytes" env:"WEBSOCKET_QUEUE_BYTES" help:"What may wait for one client that does not keep up, in bytes with an overhead per packet; above it the client is disconnected."`
	Recovery       time.Duration `koanf:"recovery" env:"WEBSOCKET_RECOVERY" help:"How long a client that lost its connection may take to come back and get what it missed; 0 turns that off."`
	RecoveryBytes  int           `koanf:"recovery_bytes" env:"WEBSOCKET_RECOVERY_BYTES" help:"Events kept for that, in bytes per namespace. A client that missed more is told so by the event recovery.expired."`
	Replays        int           `koanf:"replays" env:"WEBSOCKET_REPLAYS" help:"How many clients may be served from the log at once, after they asked for what they missed by since; others wait for their turn."`
	ReplaysEach    int           `koanf:"replays_each" env:"WEBSOCKET_REPLAYS_EACH" help:"How many of these may be in one namespace."`
	SocketsEach    int           `koanf:"sockets_each" env:"WEBSOCKET_SOCKETS_EACH" help:"How many sockets may be in namespaces at once by the token of one instance; those by the global key do not count."`
	Compression    bool          `koanf:"compression" env:"WEBSOCKET_COMPRESSION" help:"Offer permessage-deflate to clients, for messages of 1 KiB and more. Costs CPU and memory per client."`
	CommandRate    float64       `koanf:"command_rate" env:"WEBSOCKET_COMMAND_RATE" help:"Commands per second that one client may send, with bursts of twice as many; see COMMANDS_URL."`
	CommandBytes   int           `koanf:"command_bytes" env:"WEBSOCKET_COMMAND_BYTES" help:"Largest command, in bytes."`
	CommandTimeout time.Duration `koanf:"command_timeout" env:"WEBSOCKET_COMMAND_TIMEOUT" help:"How long a command may take to be done."`
	EIO3           bool          `koanf:"allow_eio3" env:"WEBSOCKET_ALLOW_EIO3" help:"Let socket.io clients of version 2 in."`

	// The fields below are settings of the whole server, see [Config.Behind].

	// Origins that browsers may connect from, "*" for all. None adds no CORS headers and allows the server's own pages
	// only.
	Origins []string `koanf:"-"`
	// Credentials lets pages of these origins send cookies and authorisation headers along; not with "*".
	Credentials bool `koanf:"-"`
	// LocalKeyless exempts clients at loopback from a key when AllowedHosts is empty: the operator has
	// chosen no key, and the server listens on loopback only.
	LocalKeyless bool `koanf:"-"`
}

// DefaultConfig returns the defaults: those of Evolution API where it has them.
func DefaultConfig() Config {
	return Config{
		CheckOrigin: true, PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second, ConnectTimeout: 45 * time.Second,
		MaxPayload: 1_000_000, QueueBytes: 4 << 20,
		Recovery: 2 * time.Minute, RecoveryBytes: 8 << 20, Replays: 16, ReplaysEach: 4, SocketsEach: 5000,
		CommandRate: 10, CommandBytes: 256 << 10, CommandTimeout: 30 * time.Second,
		Origins: []string{"*"},
	}
}

// Behind takes over the settings of the server. Both trust the proxies that either of them names.
func (c *Config) Behind(s *sink.Server) {
	s.TrustedProxies = append(s.TrustedProxies, c.TrustedProxies...)
	c.TrustedProxies = s.TrustedProxies
	c.Origins, c.Credentials, c.LocalKeyless = s.Origins, s.Credentials, s.Keyless
}

// Validate reports everything that is wrong with c, in keys of the section.
func (c *Config) Validate() error {
	var errs []error
	for key, value := range map[string]int64{
		"ping_interval": int64(c.PingInterval), "ping_timeout": int64(c.PingTimeout), "connect_timeout": int64(c.ConnectTimeout),
		"max_payload": int64(c.MaxPayload), "queue_bytes": int64(c.QueueBytes),
		"replays": int64(c.Replays), "replays_each": int64(c.ReplaysEach), "sockets_each": int64(c.SocketsEach),
		"command_bytes": int64(c.CommandBytes), "command_timeout": int64(c.CommandTimeout),
	} {
		if value <= 0 {
			errs = append(errs, fmt.Errorf("%s must be above 0", key))
		}
	}
	if c.CommandRate <= 0 {
		errs = append(errs, errors.New("command_rate must be above 0"))
	}
	if c.Recovery < 0 {
		errs = append(errs, errors.New("recovery must not be below 0; 0 turns it off"))
	}
	if c.Recovery > 0 && c.RecoveryBytes <= 0 {
		errs = append(errs, errors.New("recovery_bytes must be above 0 while recovery is on"))
	}
	if _, err := parseHosts(c.AllowedHosts); err != nil {
		errs = append(errs, fmt.Errorf("allowed_hosts: %w", err))
	}
	if _, err := remote.ParseNetworks(c.TrustedProxies); err != nil {
		errs = append(errs, fmt.Errorf("trusted_proxies: %w", err))
	}
	if c.Credentials && slices.Contains(c.Origins, "*") {
		errs = append(errs, errors.New(`credentials need origins by name, not "*"`))
	}
	return errors.Join(errs...)
}
