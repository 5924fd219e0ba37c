package httpapi

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/remote"
)

// Config is what can be set about the HTTP side, a section per field. [Default] has the defaults.
type Config struct {
	Server  Server  `koanf:"server"`
	CORS    CORS    `koanf:"cors"`
	Auth    Auth    `koanf:"auth"`
	Events  Events  `koanf:"events"`
	Metrics Metrics `koanf:"metrics"`
}

// Server is the section of the listener and of what holds for every request.
type Server struct {
	Port        int    `koanf:"port" env:"SERVER_PORT" help:"TCP port to listen on."`
	Host        string `koanf:"host" env:"SERVER_HOST" help:"Address to listen on; empty: every address, or loopback only when no AUTHENTICATION_API_KEY is given."`
	URL         string `koanf:"url" env:"SERVER_URL" help:"Public address of the API, server_url in envelopes; empty leaves the key out."`
	Type        string `koanf:"type" env:"SERVER_TYPE" help:"Protocol of the listener: http or https."`
	Certificate string `koanf:"certificate" env:"SSL_CONF_FULLCHAIN" help:"PEM file with the certificate chain, for https." reload:"true"`
	PrivateKey  string `koanf:"private_key" env:"SSL_CONF_PRIVKEY" help:"PEM file with the private key, for https." reload:"true"`

	TrustedProxies []string `koanf:"trusted_proxies" env:"SERVER_TRUSTED_PROXIES" help:"Addresses and CIDR ranges of reverse proxies whose X-Forwarded-For tells the client's address."`

	MaxBodyBytes   int64         `koanf:"max_body_bytes" help:"Largest request body in bytes; a larger one is answered with 413."`
	MaxBodiesBytes int64         `koanf:"max_bodies_bytes" help:"Bytes of all request bodies under way at once; above it requests are answered with 503. One instance's token, and one address, may have half of it (429). 0: twice server.max_body_bytes."`
	BodyTimeout    time.Duration `koanf:"body_timeout" help:"How long a request's body may take to arrive."`
	HeaderTimeout  time.Duration `koanf:"header_timeout" help:"How long a request's header may take to arrive."`
	IdleTimeout    time.Duration `koanf:"idle_timeout" help:"How long an idle connection is kept."`

	MaxConnections           int `koanf:"max_connections" help:"Connections at once, websockets included; 0: as many as the limit of open files allows (ulimit -n), at most 50000. A few more are kept for health checks."`
	MaxConnectionsPerAddress int `koanf:"max_connections_per_address" help:"Connections of one client address at once, or of one IPv6 /64 network; 0: half of all. Those of trusted proxies count for the client that they name."`

	ShutdownTimeout time.Duration `koanf:"shutdown_timeout" help:"How long the end may take after SIGTERM, everything included. Half of it is for requests and deliveries under way, which are cut off then; nothing accepted is lost by that. Keep it below what your supervisor waits (docker stop: 10s)."`
}

// CORS is the section of cross-origin requests from browsers.
type CORS struct {
	Origin      []string `koanf:"origin" env:"CORS_ORIGIN" help:"Origins whose pages may call the API; * means all."`
	Methods     []string `koanf:"methods" env:"CORS_METHODS" help:"Methods that such pages may use."`
	Credentials bool     `koanf:"credentials" env:"CORS_CREDENTIALS" help:"Whether pages may send cookies and authorisation along, as socket.io clients of version 2 always do when polling; needs origins by name."`
}

// Events is the section of events that come in over HTTP.
type Events struct {
	MaxBytes               int64         `koanf:"max_bytes" help:"Largest single event in bytes, as it is posted."`
	MaxBatch               int           `koanf:"max_batch" help:"Most events in one request."`
	Timeout                time.Duration `koanf:"timeout" help:"How long the engine may take to store the events of a request."`
	RateEach               float64       `koanf:"rate_each" env:"EVENTS_RATE_EACH" help:"Events per second that one instance may emit over HTTP, in bursts of twice as many or of events.max_batch; above it its requests are answered with 429. 0 sets no limit."`
	CreateUnknownInstances bool          `koanf:"create_unknown_instances" help:"Whether an event for an instance that does not exist creates it."`
}

// Default returns the configuration of an installation that sets nothing.
func Default() Config {
	return Config{
		Server: Server{
			Port: 8080, Type: "http", MaxBodyBytes: 64 << 20,
			BodyTimeout: 60 * time.Second, HeaderTimeout: 10 * time.Second, IdleTimeout: 120 * time.Second, ShutdownTimeout: 8 * time.Second,
		},
		CORS:   CORS{Origin: []string{"*"}, Methods: []string{"POST", "GET", "PUT", "DELETE"}},
		Events: Events{MaxBytes: 16 << 20, MaxBatch: 1000, Timeout: 10 * time.Second, CreateUnknownInstances: true},
	}
}

// Validate reports everything that is wrong with c, by the user's keys.
func (c Config) Validate() error {
	err := errors.Join(
		under("server", c.Server.Validate()), under("cors", c.CORS.Validate()), under("events", c.Events.Validate()),
		under("auth", c.Auth.Validate()),
	)
	if err == nil && c.Events.MaxBytes > c.Server.MaxBodyBytes {
		err = errors.New("events.max_bytes must not be above server.max_body_bytes")
	}
	return err
}

func under(section string, err error) error {
	if err == nil {
		return nil
	}
	return errors.New(section + "." + strings.ReplaceAll(err.Error(), "\n", "\n"+section+"."))
}

// Validate speaks keys relative to the section.
func (s Server) Validate() error {
	return errors.Join(
		check(s.Port >= 0 && s.Port <= 65535, "port must be between 0 and 65535 (0 takes a free one), not %d", s.Port),
		check(s.Type == "http" || s.Type == "https", `type must be "http" or "https", not %q`, s.Type),
		check(s.Type != "https" || s.Certificate != "" && s.PrivateKey != "", "type https needs certificate and private_key (SSL_CONF_FULLCHAIN, SSL_CONF_PRIVKEY)"),
		check(s.URL == "" || isURL(s.URL), `url must be an http or https address like "https://api.example", not %q`, s.URL),
		checkNetworks(s.TrustedProxies),
		check(s.MaxBodyBytes > 0, "max_body_bytes must be above 0"),
		check(s.MaxBodiesBytes == 0 || s.MaxBodiesBytes >= s.MaxBodyBytes, "max_bodies_bytes must be 0 or not below max_body_bytes (%d)", s.MaxBodyBytes),
		check(s.MaxConnections >= 0, "max_connections must not be below 0"),
		check(s.MaxConnectionsPerAddress >= 0, "max_connections_per_address must not be below 0"),
		check(s.BodyTimeout > 0, "body_timeout must be above 0"),
		check(s.HeaderTimeout > 0, "header_timeout must be above 0"),
		check(s.IdleTimeout > 0, "idle_timeout must be above 0"),
		check(s.ShutdownTimeout >= time.Second, "shutdown_timeout must be at least 1s, not %s", s.ShutdownTimeout),
	)
}

// Validate speaks keys relative to the section.
func (c CORS) Validate() error {
	var errs []error
	for _, o := range c.Origin {
		errs = append(errs, check(o == "*" || isURL(o), `origin %q must be * or like "https://app.example"`, o))
	}
	errs = append(errs, check(!c.Credentials || !slices.Contains(c.Origin, "*"),
		"credentials: browsers refuse credentials of pages together with the origin *: set CORS_CREDENTIALS=false, with which API keys "+
			"work as before, or name the origins of your pages, such as CORS_ORIGIN=https://app.example"))
	return errors.Join(errs...)
}

// Validate speaks keys relative to the section.
func (e Events) Validate() error {
	return errors.Join(
		check(e.MaxBytes > 0, "max_bytes must be above 0"),
		check(e.MaxBatch > 0, "max_batch must be above 0"),
		check(e.Timeout > 0, "timeout must be above 0"),
		check(e.RateEach >= 0 && e.RateEach <= 1e9, "rate_each must be from 0, which sets no limit, to 1000000000"),
	)
}

func checkNetworks(entries []string) error {
	if _, err := remote.ParseNetworks(entries); err != nil {
		return fmt.Errorf("trusted_proxies: %w", err)
	}
	return nil
}

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// Front puts the server in front of sinks: their configurations learn what they depend on (see [sink.Factory.Behind]), and
// the server trusts the proxies that they name. A server without a configured key listens on loopback only, unless Host
// says otherwise. It is called once, when everything is loaded.
func (c *Config) Front(sinks ...*sink.Factory) {
	keyless := c.Auth.APIKey == ""
	if keyless && c.Server.Host == "" {
		c.Server.Host = "127.0.0.1"
	}
	s := &sink.Server{
		URL: c.Server.URL, Host: c.Server.Host, Port: c.Server.Port, Origins: c.CORS.Origin, Credentials: c.CORS.Credentials,
		TrustedProxies: c.Server.TrustedProxies, Keyless: keyless && c.Server.Loopback(),
	}
	for _, f := range sinks {
		f.Behind(s)
	}
	c.Server.TrustedProxies = s.TrustedProxies
}

// Address returns host and port for [net.Listen].
func (s Server) Address() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Local returns the address by which a client on the same machine reaches the listener.
func (s Server) Local() string {
	host := s.Host
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return s.Type + "://" + net.JoinHostPort(host, strconv.Itoa(s.Port))
}

// Loopback reports whether only clients on the same machine reach the listener.
func (s Server) Loopback() bool {
	ip, err := netip.ParseAddr(s.Host)
	return s.Host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// DrainTimeout is the share of ShutdownTimeout that requests and deliveries under way have; see
// core.Options.DrainTimeout.
func (s Server) DrainTimeout() time.Duration { return s.ShutdownTimeout / 2 }

// TLS reports whether the listener speaks https.
func (s Server) TLS() bool { return s.Type == "https" }
