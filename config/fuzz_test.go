package config_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/evosink/evosink/config"
)

// survives holds after any input: no panic, and what loaded prints, loads again and prints the same.
func survives(t *testing.T, s source) {
	_, c, err := load(t, s)
	if c == nil {
		t.Fatalf("no Config: %v", err)
	}
	var first, second bytes.Buffer
	for _, format := range []string{"table", "origins", "json", "yaml"} {
		first.Reset()
		if perr := c.Print(&first, format); perr != nil {
			t.Fatalf("print %s: %v", format, perr)
		}
	}
	if err != nil {
		return
	}
	_, again, err := load(t, source{files: yaml(first.String())})
	if err != nil {
		t.Fatalf("printed YAML does not load: %v\n%s", err, first.String())
	}
	if len(again.Warnings()) > 0 {
		return // something was redacted, and is not taken back
	}
	if err := again.Print(&second, "yaml"); err != nil {
		t.Fatal(err)
	}
	if d := config.Diff(c, again); len(d) > 0 && !strings.Contains(first.String(), "***") {
		t.Fatalf("%q differ:\n%s\n%s", d, first.String(), second.String())
	}
}

func FuzzLoadYAML(f *testing.F) {
	for _, s := range []string{
		"", "a", "sinks:\n  webhook:\n", "server: {port: 80a}", sample().files["config.yaml"], "a: &a [*a]", "x: !!binary aGk=", "? {a: b}\n: c",
		"labels: {<<: {a: 1}, b: 2024-01-01, c: !!set {a, b}}", "labels: &l {a: 1}\nplugins: {x: {config: *l}}", "labels: {1: a, 2.5: b, true: c, ~: d}", "---\n---", "labels: {a.b: {c.d: 1}}",
		"labels: {a: [[[1]], {b: [.inf]}]}", "sinks: {webhook: {events: {'': true, 'a.b': no}}}", "labels: {a: 0o7, b: 0x1F, c: 18446744073709551615, d: 1e400}", "plugins: {'': {}, a.b: {config: {'': 1}}}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) { survives(t, source{files: yaml(string(content))}) })
}

func FuzzLoadTOML(f *testing.F) {
	for _, s := range []string{
		"", "a", "a = 1\na = 2", "[server]\nport = 1", "[[plugins]]\nx = 1", "labels = {a = 2024-01-01, b = 07:32:00, c = 2024-01-01T00:00:00, d = inf}",
		"[labels]\n\"a.b\" = [1, [2], {x = 1}]\n[labels.c.d]\ne = nan", "[plugins.x]\ncommand = '''\na\n'''", "sinks.webhook.events.A = true",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		survives(t, source{files: map[string]string{"config.toml": string(content)}})
	})
}

func FuzzLoadEnvironment(f *testing.F) {
	for _, s := range []string{
		"", "SERVER_PORT=1", "PLUGIN_A__B=c\nPLUGIN_A_B__C__D=e\nPLUGIN___=x", "WEBHOOK_EVENTS_=1\nWEBHOOK_EVENTS_.=1\nSQS_GLOBAL_X.Y=on", "AUTHENTICATION_API_KEY=x\nAUTHENTICATION_API_KEY_FILE=y",
		"SINKS_WEBHOOK_HEADERS=a=b,c,=d,,a.b=1", "EVOSINK_CONFIG=x", "A='b'c", "export X=\"\\\"", "WEBHOOK_REQUEST_TIMEOUT_MS=99999999999999999999", "SERVER_URL=a://***@b", "SERVER_MAX_BODY=9223372036854775807",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		if strings.Contains(lines, "_FILE") || strings.Contains(lines, "CONFIG") {
			return // would read this machine's files
		}
		survives(t, source{env: strings.Split(lines, "\n")})
		survives(t, source{files: map[string]string{".env": lines}})
	})
}

func FuzzLoadFlags(f *testing.F) {
	for _, s := range []string{"--server.port=1", "--labels.a.b=1\n--labels.a=2\n--labels.a.b.c=3", "--plugins..x=1", "--plugins.x.config.y.z=1", "-", "--", "--=", "--sinks.webhook.events.=1", "--sinks.webhook.events=\n--sinks.webhook.events.a..b=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		if strings.Contains(lines, "--config") {
			return // would read this machine's files
		}
		survives(t, source{args: strings.Split(lines, "\n")})
	})
}
