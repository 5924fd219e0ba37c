package webhook

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/evosink/evosink/core/sink"
)

// Config is the configuration of the sink. Names, types and defaults of the variables are those of Evolution API; what has
// no variable there is evosink's own.
type Config struct {
	Enabled bool `koanf:"enabled" env:"WEBHOOK_ENABLED" help:"call webhooks at all, those of instances among them (Evolution API has no such switch)"`

	GlobalEnabled bool          `koanf:"global_enabled" env:"WEBHOOK_GLOBAL_ENABLED" help:"call the global webhook with the events of all instances"`
	URL           string        `koanf:"url" env:"WEBHOOK_GLOBAL_URL,WEBHOOK_URL" help:"address of the global webhook"`
	ByEvents      bool          `koanf:"by_events" env:"WEBHOOK_GLOBAL_WEBHOOK_BY_EVENTS" help:"append the event to the path of the global webhook: /messages-upsert"`
	Events        sink.Switches `koanf:"events" env:"WEBHOOK_EVENTS_*" help:"events of the global webhook, by config name; ALL means all"`

	Errors    bool   `koanf:"errors" env:"WEBHOOK_EVENTS_ERRORS" help:"post events named error to errors_url"`
	ErrorsURL string `koanf:"errors_url" env:"WEBHOOK_EVENTS_ERRORS_WEBHOOK" help:"address for events named error"`

	Headers        map[string]string `koanf:"headers" help:"headers of the global webhook; jwt_key becomes Authorization: Bearer with a fresh token"`
	Secret         string            `koanf:"secret" env:"WEBHOOK_GLOBAL_SECRET" secret:"true" help:"signs the global webhook after Standard Webhooks: whsec_ and base64, or plain text"`
	PreviousSecret string            `koanf:"previous_secret" env:"WEBHOOK_GLOBAL_PREVIOUS_SECRET" secret:"true" help:"signs it too, while receivers move to the new secret"`
	Format         Format            `koanf:"format" env:"WEBHOOK_GLOBAL_FORMAT" help:"body of the global webhook: evolution or cloudevents"`
	Gzip           bool              `koanf:"gzip" env:"WEBHOOK_GLOBAL_GZIP" help:"compress the body of the global webhook"`

	RequestTimeout time.Duration `koanf:"request_timeout" env:"WEBHOOK_REQUEST_TIMEOUT_MS" help:"how long one attempt may take"`
	ConnectTimeout time.Duration `koanf:"connect_timeout" env:"WEBHOOK_CONNECT_TIMEOUT_MS" help:"how long name look-up and connecting may take, and again the TLS handshake"`
	MaxBodyBytes   int64         `koanf:"max_body_bytes" env:"WEBHOOK_MAX_BODY_BYTES" help:"largest body that is sent, before compression; a larger one is a dead letter"`
	IdleTimeout    time.Duration `koanf:"idle_timeout" env:"WEBHOOK_IDLE_TIMEOUT_SECONDS" help:"how long an idle connection is kept"`
	ConnectionAge  time.Duration `koanf:"connection_age" env:"WEBHOOK_CONNECTION_AGE_SECONDS" help:"how long connections are used before new ones are made, which look the receiver's name up again"`
	IdlePerHost    int           `koanf:"idle_per_host" env:"WEBHOOK_IDLE_PER_HOST" help:"idle connections kept per host"`
	UserAgent      string        `koanf:"user_agent" env:"WEBHOOK_USER_AGENT" help:"User-Agent of requests; empty: evosink/<version>"`

	Retry Retry `koanf:"retry"`
	TLS   TLS   `koanf:"tls"`
	Guard Guard `koanf:"guard"`

	// Server is the server that the sink is a part of, see [Config.Behind]. The zero value is one that listens on every
	// address of the machine.
	Server Server `koanf:"-"`

	resolver *net.Resolver // nil is the system's; set by tests
}

// TLS says how receivers with https addresses are talked to.
type TLS struct {
	CAFile     string `koanf:"ca_file" env:"WEBHOOK_TLS_CA" help:"PEM file of authorities to trust beside the system's"`
	CertFile   string `koanf:"cert_file" env:"WEBHOOK_TLS_CERT" help:"PEM file of the certificate to show to the receiver of the global webhook and the error webhook, never to those of instances"`
	KeyFile    string `koanf:"key_file" env:"WEBHOOK_TLS_KEY" help:"PEM file of its private key"`
	MinVersion string `koanf:"min_version" env:"WEBHOOK_TLS_MIN_VERSION" help:"lowest TLS version: 1.2 or 1.3"`
	Insecure   bool   `koanf:"insecure_skip_verify" env:"WEBHOOK_TLS_INSECURE_SKIP_VERIFY" help:"accept any certificate; whatever is between the two can then read and change events"`
}

// Guard keeps the URLs that instances set away from addresses that are not of the open internet (SSRF): those that the
// IANA registries of special addresses list, metadata services of clouds, and IPv6 addresses that carry such an IPv4
// address. It looks at each address that is dialled, after name look-up. The global webhook is the operator's and not
// held to it.
type Guard struct {
	DenyPrivate Switch      `koanf:"deny_private" env:"WEBHOOK_DENY_PRIVATE" help:"refuse loopback, private, link-local, shared and metadata addresses to webhooks of instances, and use no proxy for them: true, false or auto, which is true unless the server listens on loopback only"`
	Allow       []Exception `koanf:"allow" env:"WEBHOOK_ALLOW_ADDRESSES" help:"exceptions: hosts and networks, with or without a port: n8n:5678, 10.1.0.0/16, [fd00::/8]:443"`
}

// Defaults returns the configuration of an installation that sets nothing.
func Defaults() Config {
	return Config{
		Enabled: true, Format: Evolution,
		RequestTimeout: 30 * time.Second, ConnectTimeout: 10 * time.Second,
		MaxBodyBytes: 64 << 20, IdleTimeout: 90 * time.Second, ConnectionAge: 30 * time.Second, IdlePerHost: 64,
		Retry: defaultRetry(), TLS: TLS{MinVersion: "1.2"},
	}
}

// Behind takes over which server the sink is a part of: its own address is no receiver.
func (c *Config) Behind(s *sink.Server) { c.Server = Server{URL: s.URL, Host: s.Host, Port: s.Port} }

// Validate reports everything that is wrong with c, by the user's keys.
func (c *Config) Validate() error {
	errs := []error{c.Retry.validate()}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.RequestTimeout >= 0, "request_timeout must not be negative (0 means 30s)")
	check(c.ConnectTimeout > 0, "connect_timeout must be above 0")
	check(c.MaxBodyBytes > 0, "max_body_bytes must be above 0")
	check(c.IdleTimeout >= 0, "idle_timeout must not be negative")
	check(c.ConnectionAge > 0, "connection_age must be above 0")
	check(c.IdlePerHost > 0, "idle_per_host must be above 0")
	check(c.TLS.MinVersion == "1.2" || c.TLS.MinVersion == "1.3", "tls.min_version must be 1.2 or 1.3, not %q", c.TLS.MinVersion)
	check((c.TLS.CertFile == "") == (c.TLS.KeyFile == ""), "tls.cert_file and tls.key_file belong together: give both or none")
	check(headerValue(c.UserAgent) == nil, "user_agent must be one line of printable text")
	if c.GlobalEnabled {
		h, err := operatorsHook(c.global())
		check(err == nil, "global_enabled is true, but %w (WEBHOOK_GLOBAL_URL)", err)
		if err == nil {
			err = c.loop(h.url, "WEBHOOK_GLOBAL_URL")
			check(err == nil, "global_enabled is true, but url %w", err)
		}
		errs = append(errs, c.Events.Check("events"))
	}
	if c.Errors {
		h, err := operatorsHook(c.errorHook())
		check(err == nil, "errors is true, but errors_%w (WEBHOOK_EVENTS_ERRORS_WEBHOOK)", err)
		if err == nil {
			err = c.loop(h.url, "WEBHOOK_EVENTS_ERRORS_WEBHOOK")
			check(err == nil, "errors is true, but errors_url %w", err)
		}
	}
	return errors.Join(errs...)
}

// global is the global webhook in the form that instances store theirs in.
func (c *Config) global() webhook {
	w := webhook{
		Name: globalTarget, Enabled: true, URL: c.URL, ByEvents: c.ByEvents, Base64: true, Headers: c.Headers,
		options: options{Format: c.Format, Gzip: c.Gzip},
	}
	for _, s := range []string{c.Secret, c.PreviousSecret} {
		if s != "" {
			w.Secrets = append(w.Secrets, s)
		}
	}
	return w
}

func (c *Config) errorHook() webhook {
	return webhook{Name: errorsTarget, Enabled: true, URL: c.ErrorsURL, Base64: true}
}

// guarded reports whether webhooks of instances are kept from private addresses. Where the server can be reached from
// other machines, the holder of an instance's token may be a stranger.
func (c *Config) guarded() bool {
	return c.Guard.DenyPrivate == On || c.Guard.DenyPrivate == Auto && !c.Server.local()
}

// wanted are the events of the global webhook.
func (c *Config) wanted() []string {
	if !c.GlobalEnabled {
		return nil
	}
	return c.Events.On()
}

// rule makes the sink a global one when the global webhook wants anything, or when errors are posted.
func (c *Config) rule() sink.Rule {
	posted := sink.Switches{errorEvent: c.Errors}.On()
	if !c.GlobalEnabled {
		return sink.Switches{}.Rule(c.Errors, posted...)
	}
	return c.Events.Rule(true, posted...)
}

// warnings are settings that are valid and probably not meant.
func (c *Config) warnings() []string {
	var out []string
	if c.TLS.Insecure {
		out = append(out, "tls.insecure_skip_verify is on: receivers are not authenticated")
	}
	return out
}
