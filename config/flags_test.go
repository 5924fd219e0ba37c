package config_test

import (
	"reflect"
	"strings"
	"testing"
)

func TestFlagsAndWordsAreToldApart(t *testing.T) {
	for _, c := range []struct {
		args []string
		rest []string
	}{
		{[]string{"--server.port=1", "serve"}, []string{"serve"}},
		{[]string{"--server.port", "1", "serve"}, []string{"serve"}},
		{[]string{"config", "print", "--json", "--server.port=1"}, []string{"config", "print", "--json"}},
		{[]string{"queue", "-n", "5", "--server.port=1", "-"}, []string{"queue", "-n", "5", "-"}},
		{[]string{"--server.port=1", "--sinks.websocket.enabled", "serve"}, []string{"serve"}},
		{[]string{"--server.port=1", "x", "--", "--server.port=2"}, []string{"x", "--", "--server.port=2"}},
		{[]string{"--server.port=2", "--server.port=1"}, nil},
	} {
		a, cfg := mustLoad(t, source{args: c.args})
		if a.Server.Port != 1 || !reflect.DeepEqual(cfg.Rest(), c.rest) {
			t.Errorf("%q: port %d, rest %q, want 1 and %q", c.args, a.Server.Port, cfg.Rest(), c.rest)
		}
	}
}

func TestAFlagCanSetEveryKindOfKey(t *testing.T) {
	a, _ := mustLoad(t, source{args: []string{
		"--sinks.websocket.enabled", "--sinks.websocket.global_events=off", "--sinks.websocket.allowed_hosts=a,b", "--server.url=", "--sinks.webhook.events=A,B=no",
		"--sinks.webhook.headers.X-A=1", "--labels.a.b=c", "--authentication.expose=true", "--sinks.kafka.connect=5", "--sinks.kafka.level", "-3",
	}})
	if !a.Websocket.Enabled || a.Websocket.GlobalEvents || !reflect.DeepEqual(a.Websocket.AllowedHosts, []string{"a", "b"}) || a.Webhook.Headers["X-A"] != "1" || a.Kafka.Level != -3 {
		t.Errorf("%+v", a)
	}
	if want := map[string]bool{"QRCODE_UPDATED": true, "A": true, "B": false}; !reflect.DeepEqual(a.Webhook.Events, want) {
		t.Errorf("events %v, want %v", a.Webhook.Events, want)
	}
	if want := map[string]any{"a": map[string]any{"b": "c"}}; !reflect.DeepEqual(a.Extras.Labels, want) {
		t.Errorf("labels %v, want %v", a.Extras.Labels, want)
	}
}

func TestAWrongFlagIsAnError(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--sinks.websocket.enabld"}, "unknown flag --sinks.websocket.enabld, did you mean --sinks.websocket.enabled?"},
		{[]string{"serve", "--server.prot=1"}, "unknown flag --server.prot, did you mean --server.port?"},
		{[]string{"--websocket.enabled"}, "did you mean --sinks.websocket.enabled?"},
		{[]string{"--conifg=x"}, "did you mean --config?"},
		{[]string{"--json"}, "unknown flag --json, see --help"},
		{[]string{"--server=1"}, "unknown flag --server"},
		{[]string{"--server..port=1"}, "unknown flag"},
		{[]string{"--plugins.x=1"}, "unknown flag --plugins.x"},
		{[]string{"--labels=1"}, "unknown flag --labels"},
		{[]string{"-server.port=1"}, "flags begin with two dashes"},
		{[]string{"--server.port"}, "flag --server.port needs a value: --server.port=…"},
		{[]string{"--server.url", "--server.port=1"}, "flag --server.url needs a value"},
		{[]string{"--config"}, "flag --config needs a value"},
		{[]string{"--sinks.websocket.enabled="}, "is not a bool"},
		{[]string{"--=x"}, "unknown flag"},
	} {
		_, _, err := load(t, source{args: c.args})
		wantError(t, err, c.want)
	}
}

func TestHelpReadsNothingButTheFlags(t *testing.T) {
	_, c, err := load(t, source{files: yaml("nonsense: ["), env: []string{"SERVER_PORT=x"}, args: []string{"config", "--help", "--unknown.flag"}})
	if err != nil || !c.Help() || !reflect.DeepEqual(c.Rest(), []string{"config", "--help"}) {
		t.Errorf("help %t, rest %q, %v", c.Help(), c.Rest(), err)
	}
}

func TestASecretOnTheCommandLineIsAWarning(t *testing.T) {
	for arg, warns := range map[string]bool{"--authentication.api_key=s3cret": true, "--server.port=1": false} {
		_, c, err := loadIn(t.TempDir(), source{args: []string{arg}})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(c.Warnings(), " ")
		if strings.Contains(got, "can read a secret on the command line") != warns || strings.Contains(got, "s3cret") {
			t.Errorf("%s: warnings %q", arg, got)
		}
	}
}
