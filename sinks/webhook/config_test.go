package webhook_test

import (
	"bytes"
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/config"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/webhook"
)

func load(t *testing.T, env ...string) (*webhook.Config, *config.Config, error) {
	t.Helper()
	f := sink.Use(webhook.Spec)
	loaded, err := config.Load(config.Options{
		Sections: []config.Section{{Path: "sinks.webhook", Into: f.Config}}, Environ: env, Dir: t.TempDir(),
	})
	return f.Config.(*webhook.Config), loaded, err
}

func TestEvolutionsVariablesWorkAsTheyAre(t *testing.T) {
	c, loaded, err := load(t,
		"WEBHOOK_GLOBAL_ENABLED=true", "WEBHOOK_GLOBAL_URL=https://app.example/hook", "WEBHOOK_GLOBAL_WEBHOOK_BY_EVENTS=true",
		"WEBHOOK_EVENTS_MESSAGES_UPSERT=true", "WEBHOOK_EVENTS_GROUPS_UPDATE=true", "WEBHOOK_EVENTS_CALL=false",
		"WEBHOOK_EVENTS_ERRORS=true", "WEBHOOK_EVENTS_ERRORS_WEBHOOK=https://app.example/errors",
		"WEBHOOK_REQUEST_TIMEOUT_MS=60000", "WEBHOOK_RETRY_MAX_ATTEMPTS=3", "WEBHOOK_RETRY_INITIAL_DELAY_SECONDS=2",
		"WEBHOOK_RETRY_USE_EXPONENTIAL_BACKOFF=false", "WEBHOOK_RETRY_MAX_DELAY_SECONDS=100", "WEBHOOK_RETRY_JITTER_FACTOR=0.5",
		"WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES=400,418",
	)
	if err != nil || len(loaded.Warnings()) > 0 {
		t.Fatal(err, loaded.Warnings())
	}
	if !c.Enabled || !c.GlobalEnabled || c.URL != "https://app.example/hook" || !c.ByEvents || !c.Errors || c.ErrorsURL != "https://app.example/errors" ||
		c.RequestTimeout != time.Minute || len(c.Events) != 3 || len(c.Retry.NonRetryable) != 2 {
		t.Errorf("%+v", c)
	}
	rule := webhook.Spec.Rule(c)
	if !rule.Global || !rule.Events.Has("groups.update") || !rule.Events.Has("error") || rule.Events.Has("call") {
		t.Errorf("rule %+v", rule)
	}
	s := open(t, func(into *webhook.Config) { *into = *c })
	p := s.Retry(nil)
	if p.Attempts != 3 || p.Base != 2*time.Second || p.Max != 100*time.Second || p.Factor != 1 || p.Jitter != 0.5 || p.Timeout <= time.Minute {
		t.Errorf("policy %+v", p)
	}
}

func TestDefaultsAreEvolutions(t *testing.T) {
	c, _, err := load(t)
	if err != nil {
		t.Fatal(err)
	}
	if !webhook.Spec.Enabled(c) || webhook.Spec.Rule(c).Global || c.RequestTimeout != 30*time.Second {
		t.Errorf("%+v", c)
	}
	p := open(t).Retry(nil)
	want := sink.DefaultPolicy()
	want.Timeout = p.Timeout
	if p != want || p.Timeout < 30*time.Second {
		t.Errorf("policy %+v", p)
	}
	for i, seconds := range []int{5, 10, 20, 40, 80, 160, 300, 300, 300} {
		if got := p.Delay(i+1, 0.5); got != time.Duration(seconds)*time.Second {
			t.Errorf("the wait after failure %d is %v", i+1, got)
		}
	}
}

func TestZeroMeansTheDefaultAsInEvolution(t *testing.T) {
	c, _, err := load(t, "WEBHOOK_RETRY_MAX_ATTEMPTS=0", "WEBHOOK_RETRY_INITIAL_DELAY_SECONDS=0", "WEBHOOK_RETRY_MAX_DELAY_SECONDS=0",
		"WEBHOOK_REQUEST_TIMEOUT_MS=0", "WEBHOOK_RETRY_JITTER_FACTOR=0")
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, func(into *webhook.Config) { *into = *c })
	p := s.Retry(nil)
	if p.Attempts != 10 || p.Base != 5*time.Second || p.Max != 300*time.Second || p.Timeout < 30*time.Second || p.Jitter != 0 {
		t.Errorf("policy %+v", p)
	}
}

func TestBadConfigurationSaysWhichKey(t *testing.T) {
	for says, change := range map[string]func(*webhook.Config){
		`give an address like "https://app.example/hook" (WEBHOOK_GLOBAL_URL)`: func(c *webhook.Config) { c.GlobalEnabled = true },
		"global_enabled is true, but url must not be empty":                    func(c *webhook.Config) { c.GlobalEnabled = true },
		"global_enabled is true, but url must begin with":                      func(c *webhook.Config) { c.GlobalEnabled, c.URL = true, "app.example" },
		"errors is true, but errors_url must not be empty":                     func(c *webhook.Config) { c.Errors = true },
		"secrets[0] begins with whsec_":                                        func(c *webhook.Config) { c.GlobalEnabled, c.URL, c.Secret = true, "http://h", "whsec_hunter2" },
		`headers["a"] must not contain line breaks`: func(c *webhook.Config) {
			c.GlobalEnabled, c.URL, c.Headers = true, "http://h", map[string]string{"a": "b\nc"}
		},
		"events.CALLS": func(c *webhook.Config) {
			c.GlobalEnabled, c.URL, c.Events = true, "http://h", sink.Switches{"CALLS": true}
		},
		`format "xml"`:                                                 func(c *webhook.Config) { c.GlobalEnabled, c.URL, c.Format = true, "http://h", "xml" },
		"request_timeout must not be negative":                         func(c *webhook.Config) { c.RequestTimeout = -1 },
		"connect_timeout must be above 0":                              func(c *webhook.Config) { c.ConnectTimeout = 0 },
		"max_body_bytes must be above 0":                               func(c *webhook.Config) { c.MaxBodyBytes = 0 },
		"idle_timeout must not be negative":                            func(c *webhook.Config) { c.IdleTimeout = -1 },
		"idle_per_host must be above 0":                                func(c *webhook.Config) { c.IdlePerHost = 0 },
		"user_agent must be one line":                                  func(c *webhook.Config) { c.UserAgent = "a\r\nb" },
		"tls.min_version must be 1.2 or 1.3":                           func(c *webhook.Config) { c.TLS.MinVersion = "1.0" },
		"tls.cert_file and tls.key_file belong together":               func(c *webhook.Config) { c.TLS.CertFile = "x" },
		"retry.max_attempts must not be negative":                      func(c *webhook.Config) { c.Retry.MaxAttempts = -1 },
		"retry.initial_delay and retry.max_delay must not be negative": func(c *webhook.Config) { c.Retry.MaxDelay = -1 },
		"retry.jitter_factor must be between 0 and 1":                  func(c *webhook.Config) { c.Retry.Jitter = math.NaN() },
		"retry.non_retryable_status_codes must be":                     func(c *webhook.Config) { c.Retry.NonRetryable = []int{200} },
		"retry.max_age must not be negative":                           func(c *webhook.Config) { c.Retry.MaxAge = -1 },
		`retry.on_exhausted must be "dead" or "pause"`:                 func(c *webhook.Config) { c.Retry.OnExhausted = "forget" },
	} {
		c := webhook.Defaults()
		change(&c)
		err := c.Validate()
		wantText(t, err, says)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
	off := webhook.Defaults()
	off.Events = sink.Switches{"A_NAME_OF_ANOTHER_VERSION": true}
	if err := off.Validate(); err != nil {
		t.Errorf("a global webhook that is off is looked at: %v", err)
	}
}

func TestFilesThatCannotBeReadStopTheStart(t *testing.T) {
	for says, change := range map[string]func(*webhook.Config){
		"tls.ca_file: open /nowhere":                    func(c *webhook.Config) { c.TLS.CAFile = "/nowhere" },
		"holds no certificate in PEM form":              func(c *webhook.Config) { c.TLS.CAFile = "sink.go" },
		"tls.cert_file and tls.key_file: open /nowhere": func(c *webhook.Config) { c.TLS.CertFile, c.TLS.KeyFile = "/nowhere", "/nowhere" },
	} {
		c := webhook.Defaults()
		change(&c)
		s, err := webhook.Spec.New(c, sink.Host{})
		wantText(t, err, says)
		if s != nil {
			t.Error("a sink beside an error")
		}
	}
}

func TestWhatIsProbablyNotMeantIsLogged(t *testing.T) {
	var log bytes.Buffer
	c := webhook.Defaults()
	c.GlobalEnabled, c.URL, c.TLS.Insecure = true, "http://user:hunter2@h/?token=hunter2", true
	s, err := webhook.New(c, sink.Host{Logger: zerolog.New(&log)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	if !strings.Contains(log.String(), "insecure_skip_verify") || strings.Contains(log.String(), "hunter2") {
		t.Errorf("logged %s", &log)
	}
}

func TestUserAgentNamesUs(t *testing.T) {
	if got := webhook.UserAgent(); !strings.HasPrefix(got, "evosink/") {
		t.Errorf("got %q", got)
	}
}
