package config_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestVariablesAreReadByTheTypeOfTheirKey(t *testing.T) {
	for _, c := range []struct {
		variable string
		got      func(*all) any
		want     any
	}{
		{"WEBSOCKET_ENABLED=TRUE", func(a *all) any { return a.Websocket.Enabled }, true},
		{"WEBSOCKET_ENABLED= yes ", func(a *all) any { return a.Websocket.Enabled }, true},
		{"WEBSOCKET_ENABLED=On", func(a *all) any { return a.Websocket.Enabled }, true},
		{"WEBSOCKET_ENABLED=1", func(a *all) any { return a.Websocket.Enabled }, true},
		{"WEBSOCKET_ENABLED=off", func(a *all) any { return a.Websocket.Enabled }, false},
		{"SERVER_PORT=", func(a *all) any { return a.Server.Port }, uint16(8080)},
		{"PORT=9", func(a *all) any { return a.Server.Port }, uint16(9)},
		{"EVOSINK_SERVER_PORT=9", func(a *all) any { return a.Server.Port }, uint16(9)},
		{"SERVER_URL= x=y ", func(a *all) any { return a.Server.URL }, " x=y "},
		{"SERVER_MAX_BODY=64KB", func(a *all) any { return a.Server.MaxBody }, Bytes(64000)},
		{"SERVER_MAX_BODY=2 mib", func(a *all) any { return a.Server.MaxBody }, Bytes(2 << 20)},
		{"SERVER_MAX_BODY=512", func(a *all) any { return a.Server.MaxBody }, Bytes(512)},
		{"WEBSOCKET_ALLOWED_HOSTS= a, ,b,", func(a *all) any { return a.Websocket.AllowedHosts }, []string{"a", "b"}},
		{"WEBSOCKET_TRUSTED_PROXIES=10.0.0.0/8,::1/128", func(a *all) any { return a.Websocket.Trusted },
			[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}},
		{"WEBSOCKET_PING_INTERVAL=1m30s", func(a *all) any { return a.Websocket.PingInterval }, 90 * time.Second},
		{"WEBHOOK_REQUEST_TIMEOUT_MS=1500", func(a *all) any { return a.Webhook.Timeout }, 1500 * time.Millisecond},
		{"EVOSINK_WEBHOOK_REQUEST_TIMEOUT_MS=1500", func(a *all) any { return a.Webhook.Timeout }, 1500 * time.Millisecond},
		{"WEBHOOK_RETRY_INITIAL_DELAY_SECONDS=7", func(a *all) any { return a.Webhook.Retry.Initial }, 7 * time.Second},
		{"KAFKA_CONNECTION_TIMEOUT=250", func(a *all) any { return a.Kafka.Connect }, 250 * time.Millisecond},
		{"KAFKA_CONNECTION_TIMEOUT=2s", func(a *all) any { return a.Kafka.Connect }, 2 * time.Second},
		{"WEBHOOK_RETRY_JITTER_FACTOR=0.5", func(a *all) any { return a.Webhook.Retry.Jitter }, 0.5},
		{"WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES=404,410", func(a *all) any { return a.Webhook.Retry.Fatal }, []int{404, 410}},
		{"SINKS_WEBHOOK_HEADERS=X-A=1, X-B = 2=3", func(a *all) any { return a.Webhook.Headers }, map[string]string{"X-A": "1", "X-B": "2=3"}},
		{"SQS_GLOBAL_ENABLED=true", func(a *all) any { return [2]any{a.SQS.Global, len(a.SQS.Events)} }, [2]any{true, 0}},
		{"SQS_GLOBAL_CALL=true", func(a *all) any { return [2]any{a.SQS.Global, a.SQS.Events["CALL"]} }, [2]any{false, true}},
		{"WEBHOOK_EVENTS_ERRORS_WEBHOOK=http://x", func(a *all) any { return [2]any{a.Webhook.ErrorsURL, len(a.Webhook.Events)} }, [2]any{"http://x", 1}},
	} {
		t.Run(c.variable, func(t *testing.T) {
			a, _ := mustLoad(t, source{env: []string{c.variable}})
			if got := c.got(a); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			b, _ := mustLoad(t, source{files: map[string]string{".env": quoteLine(c.variable)}})
			if got := c.got(b); !reflect.DeepEqual(got, c.want) {
				t.Errorf("from .env: got %v, want %v", got, c.want)
			}
		})
	}
}

func quoteLine(variable string) string {
	for i := range variable {
		if variable[i] == '=' {
			return fmt.Sprintf("export %s='%s'\n", variable[:i], variable[i+1:])
		}
	}
	return variable
}

func TestBadValuesAreErrorsThatNameWhatIsAccepted(t *testing.T) {
	for content, parts := range map[string][]string{
		"server: {port: 70000}":          {"server.port", "out of range", "0 to 65535", "config.yaml"},
		"server: {port: -1}":             {"server.port", "0 to 65535"},
		"server: {port: 80.5}":           {"server.port", `"80.5"`, "whole number"},
		"server: {port: true}":           {"server.port", "not a number"},
		"server: {port: [1]}":            {"server.port", "a list stands where a single value"},
		"server: {port: {a: 1}}":         {"server.port", "a section stands where a single value"},
		"server: {port: ''}":             {"server.port", "not a number"},
		"server: {url: 0123}":            {"server.url", "a number stands where text is expected", "quotes"},
		"server: {url: 2024-01-01}":      {"server.url", "a date or time stands", "quotes"},
		"server: {max_body: 1XB}":        {"server.max_body", "not a size", "64KB or 1MiB"},
		"server: {max_body: -5}":         {"server.max_body", "not a size"},
		"server: {max_body: 9999999TiB}": {"server.max_body", "not a size"},
		"server: 5":                      {"server", "a number stands where a section with keys below it is expected"},
		"sinks: [a]":                     {"sinks", "a list stands where a section"},
		"plugins: text":                  {"plugins", "a text stands where a section"},
		"plugins: {x: 1}":                {"plugins.x", "a number stands where a section"},
		"labels: 1":                      {"labels", "a number stands where a section"},
		"labels: " + strings.Repeat("{a: ", 5000) + strings.Repeat("}", 5000):          {"labels", "nested deeper than 64 levels"},
		"server: {url: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}": {"server.url", "nested deeper than 64 levels"},
		"labels: {a: .nan}":                                      {"labels", "finite"},
		"sinks: {webhook: {events: [A]}}":                        {"sinks.webhook.events", "a list stands where a section"},
		"sinks: {webhook: {events: {A: 3}}}":                     {"sinks.webhook.events.A", "not a bool"},
		"sinks: {webhook: {timeout: 5}}":                         {"sinks.webhook.timeout", "500ms, 30s"},
		"sinks: {webhook: {retry: {jitter_factor: .inf}}}":       {"jitter_factor", "not a finite number"},
		"sinks: {websocket: {trusted: [10.0.0.0]}}":              {"sinks.websocket.trusted", "not accepted", "10.0.0.0"},
		"sinks: {websocket: {allowed_hosts: [a, null]}}":         {"sinks.websocket.allowed_hosts", "a missing value stands"},
		"sinks: {websocket: {enabled: ja}}":                      {"sinks.websocket.enabled", "not a bool"},
		"authentication: {api_key: 12345}":                       {"authentication.api_key", "a number stands", "quotes"},
		"sinks: {webhook: {url: [https://user:pw@example.org]}}": {"sinks.webhook.url", "a list stands"},
	} {
		t.Run(content, func(t *testing.T) {
			_, _, err := load(t, source{files: yaml(content)})
			wantError(t, err, append(parts, "(config.yaml)")...)
		})
	}
}

func TestFileValuesMayBeTextOrTheFilesOwnTypes(t *testing.T) {
	for name, content := range map[string]string{
		"config.yaml": "server: {port: '81', max_body: 2048}\nsinks:\n  websocket: {enabled: yes, allowed_hosts: 'a,b', ping_interval: 0}\n  kafka: {connect: 40}\n  webhook: {retry: {jitter_factor: 1, non_retryable_status_codes: 404}}\n",
		"config.toml": "[server]\nport = 81\nmax_body = 2048\n[sinks.websocket]\nenabled = true\nallowed_hosts = ['a', 'b']\nping_interval = '0s'\n[sinks.kafka]\nconnect = '40ms'\n[sinks.webhook.retry]\njitter_factor = 1\nnon_retryable_status_codes = [404]\n",
	} {
		a, _, err := load(t, source{files: map[string]string{name: content}})
		wantError(t, err, "ping_interval must be above 0")
		if a.Server.Port != 81 || a.Server.MaxBody != 2048 || !a.Websocket.Enabled || a.Kafka.Connect != 40*time.Millisecond || a.Webhook.Retry.Jitter != 1 ||
			!reflect.DeepEqual(a.Websocket.AllowedHosts, []string{"a", "b"}) || !reflect.DeepEqual(a.Webhook.Retry.Fatal, []int{404}) {
			t.Errorf("%s: %+v", name, a)
		}
	}
}
