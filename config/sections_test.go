package config_test

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evosink/evosink/config"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The sections below use every kind of key there is. They stand in for those of the rooms.

type server struct {
	Port    uint16 `koanf:"port" env:"SERVER_PORT,PORT" help:"TCP port to listen on"`
	URL     string `koanf:"url" help:"public address"`
	MaxBody Bytes  `koanf:"max_body" help:"largest request body"`
}

type authentication struct {
	APIKey config.Secret `koanf:"api_key" env:"AUTHENTICATION_API_KEY,GLOBAL_API_KEY" help:"global key"`
	Expose *bool         `koanf:"expose" help:"show tokens in fetchInstances"`
}

type websocket struct {
	Enabled      bool           `koanf:"enabled" env:"WEBSOCKET_ENABLED" help:"serve socket.io clients"`
	GlobalEvents bool           `koanf:"global_events" env:"WEBSOCKET_GLOBAL_EVENTS" help:"every event on /"`
	AllowedHosts []string       `koanf:"allowed_hosts" env:"WEBSOCKET_ALLOWED_HOSTS" help:"peers that need no key"`
	Trusted      []netip.Prefix `koanf:"trusted" env:"WEBSOCKET_TRUSTED_PROXIES" help:"proxies whose headers count"`
	PingInterval time.Duration  `koanf:"ping_interval" env:"WEBSOCKET_PING_INTERVAL" help:"heartbeat"`
}

func (w *websocket) Validate() error {
	var errs []error
	if w.PingInterval <= 0 {
		errs = append(errs, errors.New("ping_interval must be above 0"))
	}
	if len(w.AllowedHosts) > 3 {
		errs = append(errs, errors.New("allowed_hosts: at most 3"))
	}
	return errors.Join(errs...)
}

type retry struct {
	MaxAttempts int           `koanf:"max_attempts" env:"WEBHOOK_RETRY_MAX_ATTEMPTS" help:"tries in all"`
	Initial     time.Duration `koanf:"initial_delay" env:"WEBHOOK_RETRY_INITIAL_DELAY_SECONDS" help:"first pause"`
	Jitter      float64       `koanf:"jitter_factor" env:"WEBHOOK_RETRY_JITTER_FACTOR" help:"share of a pause"`
	Fatal       []int         `koanf:"non_retryable_status_codes" env:"WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES" help:"never retried"`
}

type webhook struct {
	URL       string            `koanf:"url" env:"WEBHOOK_GLOBAL_URL,WEBHOOK_URL" help:"global webhook"`
	ByEvents  bool              `koanf:"by_events" env:"WEBHOOK_GLOBAL_WEBHOOK_BY_EVENTS" help:"append the event to the URL"`
	Timeout   time.Duration     `koanf:"timeout" env:"WEBHOOK_REQUEST_TIMEOUT_MS" help:"of one request"`
	Events    map[string]bool   `koanf:"events" env:"WEBHOOK_EVENTS_*" help:"events of the global webhook"`
	Errors    bool              `koanf:"errors" env:"WEBHOOK_EVENTS_ERRORS" help:"post failed requests"`
	ErrorsURL string            `koanf:"errors_url" env:"WEBHOOK_EVENTS_ERRORS_WEBHOOK" help:"where to"`
	Headers   map[string]string `koanf:"headers" help:"sent with each request"`
	Query     map[string]string `koanf:"query" help:"appended to the URL"`
	Retry     retry             `koanf:"retry"`
}

type sqs struct {
	Enabled bool            `koanf:"enabled" env:"SQS_ENABLED"`
	Global  bool            `koanf:"global" env:"SQS_GLOBAL_ENABLED"`
	Events  map[string]bool `koanf:"events" env:"SQS_GLOBAL_*"`
}

type tls struct {
	CA string `koanf:"ca" env:"KAFKA_SSL_CA" help:"PEM"`
}

type kafka struct {
	Brokers []string      `koanf:"brokers"  env:"KAFKA_BROKERS"`
	Connect time.Duration `koanf:"connect" env:"KAFKA_CONNECTION_TIMEOUT" unit:"ms"`
	TLS     *tls          `koanf:"tls"`
	Level   int8          `koanf:"level" env:"KAFKA_LEVEL"`
}

type plugin struct {
	Command string         `koanf:"command" help:"program"`
	Args    []string       `koanf:"args"`
	Timeout time.Duration  `koanf:"timeout"`
	Config  map[string]any `koanf:"config" env:"*"`
}

func (p *plugin) Defaults() { p.Timeout = 10 * time.Second }

type extras struct {
	Plugins map[string]plugin `koanf:"plugins" env:"PLUGIN_*__*" help:"sinks of your own"`
	Labels  map[string]any    `koanf:"labels"`
}

// all is one of each section.
type all struct {
	Server         server
	Authentication authentication
	Websocket      websocket
	Webhook        webhook
	SQS            sqs
	Kafka          kafka
	Extras         extras
}

func defaults() *all {
	return &all{
		Server:    server{Port: 8080, MaxBody: 1 << 20},
		Websocket: websocket{AllowedHosts: []string{"127.0.0.1", "::1"}, PingInterval: 25 * time.Second},
		Webhook: webhook{
			Timeout: 30 * time.Second,
			Events:  map[string]bool{"QRCODE_UPDATED": true},
			Retry:   retry{MaxAttempts: 10, Initial: 5 * time.Second, Jitter: 0.2, Fatal: []int{400, 401}},
		},
		Kafka: kafka{Brokers: []string{"localhost:9092"}, Connect: 3 * time.Second},
	}
}

func (a *all) sections() []config.Section {
	return []config.Section{
		{Path: "", Into: &a.Extras},
		{Path: "server", Into: &a.Server},
		{Path: "authentication", Into: &a.Authentication},
		{Path: "sinks.websocket", Into: &a.Websocket},
		{Path: "sinks.webhook", Into: &a.Webhook},
		{Path: "sinks.sqs", Into: &a.SQS},
		{Path: "sinks.kafka", Into: &a.Kafka},
	}
}

// source is what a test gives to Load.
type source struct {
	files map[string]string // in Dir
	env   []string
	args  []string
	ok    []string // accepted
}

// load runs Load over fresh defaults.
func load(t testing.TB, s source) (*all, *config.Config, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range s.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return loadIn(dir, s)
}

func loadIn(dir string, s source) (*all, *config.Config, error) {
	a := defaults()
	c, err := config.Load(config.Options{Sections: a.sections(), Args: s.args, Environ: s.env, Dir: dir, Accepted: s.ok})
	return a, c, err
}

// mustLoad fails the test when Load does, or when it warns.
func mustLoad(t testing.TB, s source) (*all, *config.Config) {
	t.Helper()
	a, c, err := load(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Warnings(); len(w) > 0 {
		t.Fatalf("unexpected warnings: %q", w)
	}
	return a, c
}

func yaml(content string) map[string]string { return map[string]string{"config.yaml": content} }

// wantError fails unless err contains every part.
func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
}

// wantOrigin fails unless the key has that value and origin.
func wantOrigin(t testing.TB, c *config.Config, key, value, origin string) {
	t.Helper()
	k, ok := c.Key(key)
	if !ok || k.Value != value || k.Origin != origin {
		t.Errorf("%s = %q from %q (known: %t), want %q from %q", key, k.Value, k.Origin, ok, value, origin)
	}
}
