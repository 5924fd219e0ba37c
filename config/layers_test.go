package config_test

import (
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/config"
)

func TestEachLayerOverridesTheOnesBeforeIt(t *testing.T) {
	s := source{}
	steps := []struct {
		value, origin string
		add           func()
	}{
		{"8080", "default", func() {}},
		{"1", "config.yaml", func() { s.files = yaml("server:\n  port: 1\n") }},
		{"2", ".env", func() { s.files[".env"] = "SERVER_PORT=2\n" }},
		{"3", "environment SERVER_PORT", func() { s.env = []string{"SERVER_PORT=3"} }},
		{"4", "flag --server.port", func() { s.args = []string{"--server.port=4"} }},
	}
	for _, step := range steps {
		step.add()
		_, c := mustLoad(t, s)
		wantOrigin(t, c, "server.port", step.value, step.origin)
	}
	_, c := mustLoad(t, s)
	k, _ := c.Key("server.port")
	want := []config.Source{{Value: "3", Origin: "environment SERVER_PORT"}, {Value: "2", Origin: ".env"}, {Value: "1", Origin: "config.yaml"}, {Value: "8080", Origin: "default"}}
	if !reflect.DeepEqual(k.Overridden, want) {
		t.Errorf("overridden %v, want %v", k.Overridden, want)
	}
}

func TestAnEmptySectionErasesNothing(t *testing.T) {
	for name, content := range map[string]string{
		"the outer section": "sinks:\n",
		"the inner section": "sinks:\n  webhook:\n",
		"a struct in it":    "sinks:\n  webhook:\n    retry:\n",
		"a leaf":            "sinks:\n  webhook:\n    timeout:\n    events:\n    url: ~\n",
		"an empty map":      "sinks: {webhook: {events: {}, retry: {}}}\n",
		"an empty file":     "",
		"only comments":     "# nothing\n",
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := mustLoad(t, source{files: yaml(content)})
			if !reflect.DeepEqual(a.Webhook, defaults().Webhook) {
				t.Errorf("webhook = %+v, want the defaults", a.Webhook)
			}
		})
	}
}

func TestALongerNameIsNotSwallowedByAShorterOne(t *testing.T) {
	a, _ := mustLoad(t, source{env: []string{"WEBSOCKET_GLOBAL_EVENTS=true", "WEBHOOK_GLOBAL_WEBHOOK_BY_EVENTS=true"}})
	if !a.Websocket.GlobalEvents || !a.Webhook.ByEvents {
		t.Errorf("%+v, %+v: want both names to set their own key", a.Websocket, a.Webhook)
	}
	_, c, err := load(t, source{env: []string{"WEBSOCKET_GLOBAL=1", "WEBSOCKET_GLOBAL_EVENTS=true"}})
	if err != nil {
		t.Fatal(err)
	}
	wantOrigin(t, c, "sinks.websocket.global_events", "true", "environment WEBSOCKET_GLOBAL_EVENTS")
	if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "unknown variable WEBSOCKET_GLOBAL ") {
		t.Errorf("warnings %q, want one about WEBSOCKET_GLOBAL", w)
	}
}

func TestListsAreReplacedAndMapsMerge(t *testing.T) {
	a, c := mustLoad(t, source{
		files: yaml("sinks:\n  websocket:\n    allowed_hosts: [10.0.0.1]\n  webhook:\n    events:\n      MESSAGES_UPSERT: true\n      messages.edited: yes\n"),
		env:   []string{"WEBHOOK_EVENTS_CALL=on", "WEBHOOK_EVENTS_MESSAGES_UPSERT=false"},
		args:  []string{"--sinks.webhook.events.chats.delete=true"},
	})
	if want := []string{"10.0.0.1"}; !reflect.DeepEqual(a.Websocket.AllowedHosts, want) {
		t.Errorf("allowed hosts %q, want %q", a.Websocket.AllowedHosts, want)
	}
	want := map[string]bool{"QRCODE_UPDATED": true, "MESSAGES_UPSERT": false, "messages.edited": true, "CALL": true, "chats.delete": true}
	if !maps.Equal(a.Webhook.Events, want) {
		t.Errorf("events %v, want %v", a.Webhook.Events, want)
	}
	wantOrigin(t, c, "sinks.webhook.events.QRCODE_UPDATED", "true", "default")
	wantOrigin(t, c, "sinks.webhook.events.messages.edited", "true", "config.yaml")
	wantOrigin(t, c, "sinks.webhook.events.CALL", "true", "environment WEBHOOK_EVENTS_CALL")
	wantOrigin(t, c, "sinks.webhook.events.chats.delete", "true", "flag --sinks.webhook.events.chats.delete")
}

func TestLoadLeavesTheCallersDefaultMapAlone(t *testing.T) {
	shared := map[string]bool{"A": true}
	for range 2 {
		w := webhook{Events: shared}
		if _, err := config.Load(config.Options{Dir: t.TempDir(), Environ: []string{"WEBHOOK_EVENTS_B=1"},
			Sections: []config.Section{{Path: "sinks.webhook", Into: &w}}}); err != nil {
			t.Fatal(err)
		}
	}
	if len(shared) != 1 {
		t.Errorf("the shared default became %v", shared)
	}
}

func TestFileKeysMayBeWrittenInAnyCaseButEntriesKeepTheirs(t *testing.T) {
	a, _ := mustLoad(t, source{files: yaml("Sinks:\n  WebHook:\n    Events:\n      MixedCase: true\n    headers: {X-Api: v}\nplugins:\n  My-Slack:\n    Command: x\n    CONFIG: {camelCase: {Inner: 1}}\n")})
	if !a.Webhook.Events["MixedCase"] || a.Webhook.Headers["X-Api"] != "v" {
		t.Errorf("webhook %+v: the user's own names changed", a.Webhook)
	}
	p := a.Extras.Plugins["My-Slack"]
	if want := map[string]any{"camelCase": map[string]any{"Inner": 1}}; p.Command != "x" || !reflect.DeepEqual(p.Config, want) {
		t.Errorf("plugin %+v, want command x and config %v", p, want)
	}
	_, _, err := load(t, source{files: yaml("server: {port: 1}\nServer: {port: 2}\n")})
	wantError(t, err, "server", "twice", "config.yaml")
}

func TestAllErrorsAreReportedAtOnce(t *testing.T) {
	_, c, err := load(t, source{
		files: map[string]string{"config.yaml": "server:\n  port: 80a\nsinks:\n  webhook:\n    retry:\n      max_atempts: 3\n", ".env": "WEBHOOK_RETRY_JITTER_FACTOR=much\n"},
		env:   []string{"WEBSOCKET_ENABLED=ja", "WEBHOOK_REQUEST_TIMEOUT_MS=soon"},
		args:  []string{"--sinks.kafka.level=300", "--server.prot=1"},
	})
	wantError(t, err,
		`server.port: "80a" is not a number: want a whole number from 0 to 65535 (config.yaml)`,
		`unknown key sinks.webhook.retry.max_atempts (config.yaml), did you mean sinks.webhook.retry.max_attempts?`,
		`sinks.webhook.retry.jitter_factor: "much" is not a number: want a number such as 0.2 (.env WEBHOOK_RETRY_JITTER_FACTOR)`,
		`sinks.websocket.enabled: "ja" is not a bool: want true, false, 1, 0, yes, no, on or off (environment WEBSOCKET_ENABLED)`,
		`"soon" is not a duration: want a whole number of milliseconds, or a number with a unit such as 30s (environment WEBHOOK_REQUEST_TIMEOUT_MS)`,
		`sinks.kafka.level: "300" is out of range: want a whole number from -128 to 127 (flag --sinks.kafka.level)`,
		`unknown flag --server.prot, did you mean --server.port?`,
	)
	if c == nil {
		t.Error("no Config beside the error: check and schema need it")
	}
}

func TestValidationSpeaksTheWholeKeyAndItsOrigin(t *testing.T) {
	_, _, err := load(t, source{
		files: yaml("sinks: {websocket: {allowed_hosts: [a, b, c, d]}}\n"),
		env:   []string{"WEBSOCKET_PING_INTERVAL=0s"},
	})
	wantError(t, err,
		"sinks.websocket.ping_interval must be above 0 (environment WEBSOCKET_PING_INTERVAL)\n",
		"sinks.websocket.allowed_hosts: at most 3 (config.yaml)")
}

func TestValidationNamesTheVariableOfAKeyThatIsNotSet(t *testing.T) {
	a := defaults()
	a.Websocket.PingInterval = 0
	_, err := config.Load(config.Options{Sections: a.sections(), Dir: t.TempDir()})
	wantError(t, err, "sinks.websocket.ping_interval must be above 0 (WEBSOCKET_PING_INTERVAL)")
}

func TestASectionWithABadValueIsNotValidated(t *testing.T) {
	_, _, err := load(t, source{env: []string{"WEBSOCKET_PING_INTERVAL=0s", "WEBSOCKET_ENABLED=ja"}})
	wantError(t, err, "is not a bool")
	if strings.Contains(err.Error(), "above 0") {
		t.Errorf("error %q: the half-decoded section was validated", err)
	}
}

func TestDiffListsTheKeysThatChanged(t *testing.T) {
	_, before := mustLoad(t, source{env: []string{"AUTHENTICATION_API_KEY=one", "SERVER_PORT=8080", "WEBHOOK_EVENTS_CALL=1"}})
	_, after := mustLoad(t, source{env: []string{"AUTHENTICATION_API_KEY=two", "KAFKA_BROKERS=a,b"}})
	want := []string{"authentication.api_key", "sinks.kafka.brokers", "sinks.webhook.events.CALL"}
	if got := config.Diff(before, after); !reflect.DeepEqual(got, want) {
		t.Errorf("diff %q, want %q", got, want)
	}
	if got := config.Diff(after, after); len(got) != 0 {
		t.Errorf("a Config differs from itself in %q", got)
	}
}

func TestOnlyWhatIsSetFillsAPointer(t *testing.T) {
	a, c := mustLoad(t, source{})
	if a.Kafka.TLS != nil || a.Authentication.Expose != nil {
		t.Errorf("%+v, %+v: pointers were filled", a.Kafka, a.Authentication)
	}
	wantOrigin(t, c, "sinks.kafka.tls.ca", "", "default")
	a, _ = mustLoad(t, source{env: []string{"KAFKA_SSL_CA=pem", "AUTHENTICATION_EXPOSE=no"}})
	if a.Kafka.TLS == nil || a.Kafka.TLS.CA != "pem" || a.Authentication.Expose == nil || *a.Authentication.Expose {
		t.Errorf("%+v, %+v: want both set", a.Kafka.TLS, a.Authentication.Expose)
	}
}

func TestPluginsAreEntriesThatTheUserNames(t *testing.T) {
	a, c := mustLoad(t, source{
		files: yaml("plugins:\n  my-slack:\n    command: ./slack\n    args: [-v]\n    config:\n      webhookUrl: x\n      retries: 3\n"),
		env: []string{
			"PLUGIN_MY_SLACK__API_TOKEN=hunter2", "PLUGIN_MY_SLACK__RETRIES=4",
			"EVOSINK_PLUGIN_SQL__DSN=db", "PLUGIN_SQL__DSN=weaker",
		},
		args: []string{"--plugins.my-slack.timeout=3s", "--plugins.my-slack.config.deep.er=1"},
	})
	p := a.Extras.Plugins["my-slack"]
	want := plugin{Command: "./slack", Args: []string{"-v"}, Timeout: 3 * time.Second, Config: map[string]any{
		"webhookUrl": "x", "retries": "4", "api_token": "hunter2", "deep": map[string]any{"er": "1"}}}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("plugin %+v\nwant   %+v", p, want)
	}
	if p := a.Extras.Plugins["sql"]; p.Timeout != 10*time.Second || p.Config["dsn"] != "db" {
		t.Errorf("plugin sql %+v, want its type's default timeout and the prefixed variable", p)
	}
	wantOrigin(t, c, "plugins.my-slack.config.api_token", "***", "environment PLUGIN_MY_SLACK__API_TOKEN")
	wantOrigin(t, c, "plugins.my-slack.config.webhookUrl", "x", "config.yaml")
	wantOrigin(t, c, "plugins.my-slack.timeout", "3s", "flag --plugins.my-slack.timeout")
	wantOrigin(t, c, "plugins.sql.timeout", "10s", "default")
	_, _, err := load(t, source{files: yaml("plugins:\n  x:\n    comand: y\n    timeout: 5\n")})
	wantError(t, err, "unknown key plugins.x.comand (config.yaml), did you mean plugins.x.command?", "plugins.x.timeout")
}
