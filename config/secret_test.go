package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evosink/evosink/config"
)

const hidden = "hunter2"

func TestASecretNeverPrints(t *testing.T) {
	s := config.Secret(hidden)
	box := struct{ S config.Secret }{s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10s", "%!"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", box)
	}
	fmt.Fprintln(&out, s, &s, box, []config.Secret{s}, map[string]config.Secret{"a": s}, s.String(), s.GoString(), fmt.Errorf("x %w", fmt.Errorf("%v", s)))
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "s", s, "box", box)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "s", s, "box", box)
	b, err := json.Marshal(map[string]any{"a": s, "b": &s, "c": box})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	if b, err = s.MarshalText(); err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	if text := out.String(); strings.Contains(text, hidden) || strings.Contains(text, fmt.Sprintf("%x", hidden)) {
		t.Errorf("the secret shows in %s", text)
	}
	if s.Reveal() != hidden || s.String() != "***" || config.Secret("").String() != "" {
		t.Errorf("reveal %q, string %q, empty %q", s.Reveal(), s.String(), config.Secret("").String())
	}
}

func TestNoOutputShowsASecret(t *testing.T) {
	s := source{
		files: map[string]string{
			"config.yaml": "authentication: {api_key: hunter2}\nsinks: {webhook: {url: 'https://u:hunter2@h/p?apikey=hunter2&x=1', headers: {Authorization: hunter2}}}\n" +
				"plugins: {p: {args: ['amqp://u:hun/ter2#hunter2@h'], config: {api_key: hunter2, tokens: {a: [hunter2]}, url: 'redis://:hunter2@h', deep: [{password: 777222}]}}}\nlabels: {client_secret: {x: hunter2}}\n",
			".env": "AUTHENTICATION_API_KEY=hunter2b\nPLUGIN_P__API_KEY=hunter2b\n",
		},
		env:  []string{"GLOBAL_API_KEY=hunter2c", "EVOSINK_AUTHENTICATION_API_KEY=hunter2d", "SERVER_PORT=amqp://u:hunter2@h", "SINKS_WEBHOOK_HEADERS=Cookie=hunter2", "KAFKA_BROKERS=kafka://u:hunter2@h"},
		args: []string{"--authentication.api_key=hunter2e", "--plugins.p.config.dsn=hunter2"},
	}
	_, c, err := load(t, s)
	wantError(t, err, "server.port")
	var out bytes.Buffer
	for _, format := range []string{"table", "origins", "yaml", "json"} {
		if err := c.Print(&out, format); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.Schema(&out)
	_ = c.EnvExample(&out)
	_ = c.Usage(&out)
	fmt.Fprintf(&out, "%v %+v %q", err, c, c.Warnings())
	for _, secret := range []string{hidden, "hun/ter2", "777222"} {
		if i := strings.Index(out.String(), secret); i >= 0 {
			t.Errorf("%s shows: …%s…", secret, out.String()[max(0, i-200):i+20])
		}
	}
	wantOrigin(t, c, "sinks.webhook.url", "https://***@h/p?apikey=***&x=1", "config.yaml")
	wantOrigin(t, c, "authentication.api_key", "***", "flag --authentication.api_key")
}

func TestHeadersPathsAndArgumentsAreShownWithoutTheirSecrets(t *testing.T) {
	s := source{
		files: map[string]string{
			"config.yaml": "sinks: {webhook: {url: 'https://hooks.slack.com/services/T0HUNTER2/B0/x8hunter2', headers: {X-Signature-Of-Mine: hunter2, Accept: hunter2}}}\n" +
				"plugins: {p: {args: [--url, 'https://api.telegram.org/bot7:AAhunter2/sendMessage', --api-token, hunter2, --secret=hunter2, -v], config: {headers: {X-Mine: hunter2}, http_headers: ['X-Mine: hunter2'], " +
				"hook: 'https://discord.com/api/webhooks/1174/hunter2', list: ['https://webhook.site/0b64-hunter2']}}}\n",
		},
		env: []string{"EVOSINK_SINKS_WEBHOOK_HEADERS=X-Other=hunter2", "WEBHOOK_EVENTS_ERRORS_WEBHOOK=https://h.example/a/Hunter2/b?x=1"},
	}
	_, c, err := load(t, s)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, format := range []string{"table", "origins", "yaml", "json"} {
		if err := c.Print(&out, format); err != nil {
			t.Fatal(err)
		}
	}
	if text := strings.ToLower(out.String()); strings.Contains(text, hidden) {
		t.Errorf("it shows:\n%s", text)
	}
	wantOrigin(t, c, "sinks.webhook.url", "https://hooks.slack.com/services/***/***/***", "config.yaml")
	wantOrigin(t, c, "sinks.webhook.errors_url", "https://h.example/a/***/b?x=1", "environment WEBHOOK_EVENTS_ERRORS_WEBHOOK")
	wantOrigin(t, c, "plugins.p.args", "--url,https://api.telegram.org/***/***,--api-token,***,--secret=***,-v", "config.yaml")
	var printed bytes.Buffer
	_ = c.Print(&printed, "yaml")
	again, _, err := load(t, source{files: yaml(printed.String())})
	if err != nil || again.Webhook.URL != "" || len(again.Webhook.Headers) != 0 || len(again.Extras.Plugins["p"].Args) != 0 {
		t.Errorf("what was printed is taken for the values: %+v, %v", again, err)
	}
}

func TestPathsOfWordsAreShownAsTheyAre(t *testing.T) {
	for _, url := range []string{
		"https://api.example/evolution-go/v2/messages-upsert?x=1#top", "http://h:8080/", "amqp://h:5672/%2F", "nats://a:4222,nats://b:4222/x", "file:///etc/evosink/config.yaml",
		"https://h.example/{instance}/.well-known/hooks",
	} {
		_, c := mustLoad(t, source{env: []string{"SERVER_URL=" + url}})
		wantOrigin(t, c, "server.url", url, "environment SERVER_URL")
	}
}

func TestDefaultsThatAreSecretShowNowhere(t *testing.T) {
	a := defaults()
	a.Authentication.APIKey = hidden
	a.Webhook.URL = "https://u:hunter2@h/"
	c, err := config.Load(config.Options{Dir: t.TempDir(), Sections: a.sections()})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	_ = c.Schema(&out)
	_ = c.EnvExample(&out)
	_ = c.Usage(&out)
	_ = c.Print(&out, "origins")
	if strings.Contains(out.String(), hidden) {
		t.Errorf("a secret default shows in %s", out.String())
	}
	if a.Authentication.APIKey != hidden {
		t.Error("the default itself was changed")
	}
}

func TestASecretMayComeFromAFile(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"key": " s3cret \r\n", "empty": "\n", "two": "a\n\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, env := range []string{"AUTHENTICATION_API_KEY_FILE=key", "GLOBAL_API_KEY_FILE=" + filepath.Join(dir, "key"), "EVOSINK_AUTHENTICATION_API_KEY_FILE=key"} {
		a, c, err := loadIn(dir, source{env: []string{env}})
		if err != nil || a.Authentication.APIKey != " s3cret " {
			t.Fatalf("%s: key %q, %v", env, a.Authentication.APIKey.Reveal(), err)
		}
		name, _, _ := strings.Cut(env, "=")
		wantOrigin(t, c, "authentication.api_key", "***", "environment "+name)
	}
	if a, _, _ := loadIn(dir, source{env: []string{"AUTHENTICATION_API_KEY_FILE=two"}}); a.Authentication.APIKey != "a\n" {
		t.Errorf("key %q, want one newline less", a.Authentication.APIKey.Reveal())
	}
	for env, want := range map[string]string{
		"AUTHENTICATION_API_KEY_FILE=missing": "missing",
		"AUTHENTICATION_API_KEY_FILE=empty":   "is empty",
		"AUTHENTICATION_API_KEY_FILE=.":       "directory",
	} {
		_, _, err := loadIn(dir, source{env: []string{env}})
		wantError(t, err, want, "authentication.api_key", "environment AUTHENTICATION_API_KEY_FILE")
	}
	_, _, err := loadIn(dir, source{env: []string{"AUTHENTICATION_API_KEY_FILE=key", "AUTHENTICATION_API_KEY=x"}})
	wantError(t, err, "AUTHENTICATION_API_KEY is set too")
	_, c, err := loadIn(dir, source{env: []string{"SERVER_URL_FILE=key"}})
	if err != nil || len(c.Warnings()) != 1 {
		t.Errorf("_FILE of a key that is no secret: warnings %q, %v", c.Warnings(), err)
	}
}

func TestWhatWasPrintedRedactedIsNotTakenForTheSecret(t *testing.T) {
	for _, content := range []string{
		"authentication: {api_key: '***'}",
		"sinks: {webhook: {url: 'https://***@h/'}}",
		"sinks: {webhook: {url: 'https://h/?token=***'}}",
	} {
		a, c, err := load(t, source{files: yaml(content)})
		if err != nil || a.Authentication.APIKey != "" || a.Webhook.URL != "" {
			t.Errorf("%s: %v, %+v", content, err, a.Webhook)
		}
		if w := c.Warnings(); len(w) != 1 || !strings.Contains(w[0], "not used (config.yaml)") {
			t.Errorf("%s: warnings %q", content, w)
		}
	}
}

func TestATagMakesPlainTextASecret(t *testing.T) {
	var s struct {
		Password string `koanf:"password" env:"X_PASSWORD" secret:"true"`
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p"), []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Options{
		Sections: []config.Section{{Path: "x", Into: &s}}, Dir: dir, Environ: []string{"X_PASSWORD_FILE=" + filepath.Join(dir, "p")},
	})
	if err != nil || s.Password != "hunter2" {
		t.Fatalf("got %q, %v", s.Password, err)
	}
	for _, format := range []string{"table", "origins", "yaml", "json"} {
		var out strings.Builder
		if err := c.Print(&out, format); err != nil || strings.Contains(out.String(), "hunter2") || !strings.Contains(out.String(), "***") {
			t.Errorf("%s: %v\n%s", format, err, out.String())
		}
	}
	var wrong struct {
		N int `koanf:"n" secret:"true"`
	}
	if _, err := config.Load(config.Options{Sections: []config.Section{{Path: "x", Into: &wrong}}}); err == nil {
		t.Error("a number is taken for a secret")
	}
}

func TestAFileWithASecretThatEveryUserMayReadIsAWarning(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		env   string
		want  string // in the warning; "" is none
	}{
		".env with a key":           {files: map[string]string{".env": "AUTHENTICATION_API_KEY=hunter2"}, want: "may read .env, which holds secrets (authentication.api_key): chmod 600 .env"},
		".env with a password":      {files: map[string]string{".env": "KAFKA_BROKERS=kafka://u:hunter2@h"}, want: "may read .env, which holds secrets (sinks.kafka.brokers)"},
		".env without":              {files: map[string]string{".env": "SERVER_URL=https://h/Api/v2?x=1\nAUTHENTICATION_API_KEY=\n"}},
		"a file with a key":         {files: yaml("authentication: {api_key: hunter2}"), want: "may read config.yaml, which holds secrets (authentication.api_key)"},
		"a file with a header":      {files: yaml("sinks: {webhook: {headers: {X-A: hunter2}}}"), want: "(sinks.webhook.headers.X-A)"},
		"a file with a plugin's":    {files: yaml("plugins: {p: {config: {db: {password: hunter2}, rows: 3}}}"), want: "(plugins.p.config.db.password)"},
		"a file without":            {files: yaml("authentication: {api_key: '***', expose: true}\nplugins: {p: {config: {rows: 3}}}")},
		"the file of a key":         {files: map[string]string{"key": "hunter2"}, env: "AUTHENTICATION_API_KEY_FILE=key", want: "may read key, which holds secrets (authentication.api_key): chmod 600 key"},
		"the file of an unused key": {files: map[string]string{"key": "hunter2"}, env: "OTHER_FILE=key"},
	} {
		t.Run(name, func(t *testing.T) {
			for mode, exposed := range map[os.FileMode]bool{0o644: true, 0o604: true, 0o640: false, 0o600: false} {
				dir := t.TempDir()
				for file, content := range c.files {
					if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
					if err := os.Chmod(filepath.Join(dir, file), mode); err != nil {
						t.Fatal(err)
					}
				}
				_, loaded, err := loadIn(dir, source{env: []string{c.env}})
				got := strings.Join(loaded.Warnings(), "\n")
				told := strings.Contains(got, "may read")
				if err != nil || strings.Contains(got, hidden) || told != (exposed && c.want != "") || told && !strings.Contains(got, c.want) {
					t.Errorf("%o: %v, warnings %q, want %q: %t", mode, err, got, c.want, exposed)
				}
			}
		})
	}
}

func TestWhatTheWorkingDirectorySaysIsToldFromWhatItsUserSays(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	for path, content := range map[string]string{
		filepath.Join(elsewhere, "mine.yaml"): "authentication: {api_key: hunter2}",
		filepath.Join(elsewhere, "key"):       "hunter2",
		filepath.Join(dir, "named.yaml"):      "authentication: {api_key: hunter2}",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const key = "AUTHENTICATION_API_KEY"
	for name, c := range map[string]struct {
		dotenv, file, link, env, arg string
		found, outside               bool
	}{
		"environment":                        {env: key + "=a", dotenv: key + "=b"},
		"flag":                               {arg: "--authentication.api_key=a", dotenv: key + "=b"},
		"the file of a variable":             {env: key + "_FILE=" + elsewhere + "/key"},
		"a file that a variable names":       {env: "EVOSINK_CONFIG=" + elsewhere + "/mine.yaml"},
		"a file that a flag names":           {arg: "--config=named.yaml"},
		".env":                               {dotenv: key + "=b", found: true},
		"config.yaml":                        {file: "authentication: {api_key: b}", found: true},
		"a file here that .env names":        {dotenv: "EVOSINK_CONFIG=named.yaml", found: true},
		"a file elsewhere that .env names":   {dotenv: "EVOSINK_CONFIG=" + elsewhere + "/mine.yaml", found: true, outside: true},
		"the file of a key that .env names":  {dotenv: key + "_FILE=" + elsewhere + "/key", found: true, outside: true},
		"config.yaml that is a link outside": {link: elsewhere + "/mine.yaml", found: true, outside: true},
	} {
		t.Run(name, func(t *testing.T) {
			here := filepath.Join(dir, "config.yaml")
			os.Remove(here)
			os.WriteFile(filepath.Join(dir, ".env"), []byte(c.dotenv), 0o600)
			if c.file != "" {
				os.WriteFile(here, []byte(c.file), 0o600)
			}
			if c.link != "" {
				if err := os.Symlink(c.link, here); err != nil {
					t.Fatal(err)
				}
			}
			s := source{env: []string{c.env}}
			if c.arg != "" {
				s.args = []string{c.arg}
			}
			a, loaded, err := loadIn(dir, s)
			k, _ := loaded.Key("authentication.api_key")
			if err != nil || a.Authentication.APIKey == "" || k.Found != c.found || k.Outside != c.outside {
				t.Errorf("found %t, outside %t, origin %s, %v", k.Found, k.Outside, k.Origin, err)
			}
		})
	}
}
