package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheFileIsTheNamedOneOrTheDefault(t *testing.T) {
	files := map[string]string{
		"config.yaml": "server: {port: 1}", "config.yml": "server: {port: 2}", "config.toml": "[server]\nport = 3",
		"other.yml": "server: {port: 4}", "other.TOML": "server.port = 5", "third.yaml": "server: {port: 6}",
	}
	for _, c := range []struct {
		env, args []string
		dotenv    string
		port      uint16
		origin    string
	}{
		{port: 1, origin: "config.yaml"},
		{env: []string{"EVOSINK_CONFIG=other.TOML"}, port: 5, origin: "other.TOML"},
		{dotenv: "EVOSINK_CONFIG=third.yaml", port: 6, origin: "third.yaml"},
		{dotenv: "EVOSINK_CONFIG=third.yaml", env: []string{"EVOSINK_CONFIG=other.yml"}, port: 4, origin: "other.yml"},
		{env: []string{"EVOSINK_CONFIG=third.yaml"}, args: []string{"--config=other.yml"}, port: 4, origin: "other.yml"},
		{args: []string{"serve", "--config", "other.yml"}, port: 4, origin: "other.yml"},
	} {
		files[".env"] = c.dotenv
		a, cfg, err := load(t, source{files: files, env: c.env, args: c.args})
		if err != nil || a.Server.Port != c.port {
			t.Errorf("%+v: port %d, %v", c, a.Server.Port, err)
		}
		k, _ := cfg.Key("server.port")
		if k.Origin != c.origin {
			t.Errorf("%+v: origin %q", c, k.Origin)
		}
	}
	_, cfg, _ := load(t, source{files: files})
	if w := strings.Join(cfg.Warnings(), "\n"); !strings.Contains(w, "config.yml is not read, because config.yaml is there") || !strings.Contains(w, "config.toml is not read") {
		t.Errorf("warnings %q", w)
	}
}

func TestOnlyTheDefaultFileMayBeMissing(t *testing.T) {
	mustLoad(t, source{})
	_, _, err := load(t, source{args: []string{"--config=missing.yaml"}})
	wantError(t, err, "the configuration file missing.yaml does not exist")
	_, _, err = load(t, source{env: []string{"EVOSINK_CONFIG=missing.toml"}})
	wantError(t, err, "the configuration file missing.toml does not exist")
	_, _, err = load(t, source{files: map[string]string{"config.json": "{}"}, args: []string{"--config=config.json"}})
	wantError(t, err, "config.json: want a name that ends in .yaml, .yml or .toml")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "config.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, _, err = loadIn(dir, source{})
	wantError(t, err, "read the configuration file", "directory")
}

func TestABrokenFileIsAnErrorThatSaysWhere(t *testing.T) {
	for _, c := range []struct{ name, content, want string }{
		{"config.yaml", "server: {port: 1}\nserver: {port: 2}\n", `mapping key "server" already defined at line 1`},
		{"config.yaml", "server:\n  port: 1\n  port: 2\n", "already defined"},
		{"config.yaml", "sinks: {webhook: {events: {A: true, A: false}}}\n", "already defined"},
		{"config.yaml", "server: [", "config.yaml: yaml:"},
		{"config.yaml", "- a\n", "want sections and keys at the top"},
		{"config.yaml", "hunter2\n", "want sections and keys at the top"},
		{"config.yaml", "server: {port: 1}\n---\nserver: {port: 2}\n", "a second document begins"},
		{"config.yaml", "---\nserver: {port: 1}\n---\n", "a second document begins"},
		{"config.yaml", "server.port: 1\n", `key "server.port" (config.yaml) is written in one word: nest it`},
		{"config.yaml", "server: {prot: 1}\n", "unknown key server.prot (config.yaml), did you mean server.port?"},
		{"config.yaml", "websocket: {enabled: true}\n", "unknown key websocket (config.yaml)"},
		{"config.yaml", "1: 2\n", "unknown key 1 (config.yaml)"},
		{"config.yaml", "server: {port: 1}\n#" + strings.Repeat("x", 1<<20), "config.yaml is larger than 1MiB"},
		{"config.toml", "[server]\nport = 1\nport = 2\n", "config.toml: toml:"},
		{"config.toml", "[server]\nport = 1\n[server]\nurl = 'x'\n", "table server already exists"},
		{"config.toml", "[sinks.webhok]\n", "unknown key sinks.webhok (config.toml), did you mean sinks.webhook"},
		{"config.toml", "[server]\nurl = 2024-01-01\n", "a date or time stands where text is expected"},
		{"config.toml", "[server]\nport = 07:32:00\n", "not a number"},
	} {
		_, _, err := load(t, source{files: map[string]string{c.name: c.content}})
		wantError(t, err, c.want)
		if err != nil && (strings.Contains(err.Error(), hidden) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("error %q shows content, or more than a line", err)
		}
	}
}

func TestAFileMayBeginWithAMarkerOrAByteOrderMark(t *testing.T) {
	for _, content := range []string{"---\nserver: {port: 1}\n", "\ufeffserver: {port: 1}\r\n", "# c\n%YAML 1.1\n---\nserver: {port: 1}\n...\n", "x: &x\n"} {
		a, _, err := load(t, source{files: yaml(content)})
		if strings.HasPrefix(content, "x") {
			wantError(t, err, "unknown key x")
			continue
		}
		if err != nil || a.Server.Port != 1 {
			t.Errorf("%q: port %d, %v", content, a.Server.Port, err)
		}
	}
}

func TestDatesInFreeFormBecomeText(t *testing.T) {
	for name, content := range map[string]string{
		"config.yaml": "labels: {at: 2024-01-02T03:04:05Z, l: [{1: 2}, [{3: {4: 5}}]]}\n",
		"config.toml": "[labels]\nat = 2024-01-02T03:04:05Z\nl = [{1 = 2}]\nday = 2024-01-02\n",
	} {
		a, _ := mustLoad(t, source{files: map[string]string{name: content}})
		if a.Extras.Labels["at"] != "2024-01-02T03:04:05Z" {
			t.Errorf("%s: %#v", name, a.Extras.Labels)
		}
		if m, ok := a.Extras.Labels["l"].([]any)[0].(map[string]any); !ok || len(m) != 1 {
			t.Errorf("%s: %#v, want maps with text keys", name, a.Extras.Labels)
		}
	}
}
