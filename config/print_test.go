package config_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/evosink/evosink/config"
)

// sample sets something in every layer.
func sample() source {
	return source{
		files: map[string]string{
			"config.yaml": "server: {port: 9000, url: \"https://me:pw@example.org/?token=x\"}\nsinks: {webhook: {events: {CALL: true, chats.set: no}, headers: {Authorization: Bearer x, X-A: b}}}\n" +
				"plugins: {slack: {command: ./slack, args: [\"-v\", \"1\"], config: {retries: 3, api_token: t, nested: {password: p, list: [1, a]}}}}\n",
			".env": "WEBSOCKET_ENABLED=true\nSERVER_PORT=9001\n",
		},
		env:  []string{"AUTHENTICATION_API_KEY=secret", "SQS_GLOBAL_CALL=1", "KAFKA_SSL_CA=-----BEGIN\nx", "SERVER_PORT=9002"},
		args: []string{"--sinks.websocket.ping_interval=1m"},
	}
}

// golden compares with testdata, or writes it with -update.
func golden(t *testing.T, name string, write func(io.Writer) error) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := write(&out); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("%s is stale (go test -update rewrites it); now:\n%s", name, out.Bytes())
	}
	return out.Bytes()
}

func TestWhatIsPrintedIsWhatTestdataShows(t *testing.T) {
	_, c := mustLoad(t, sample())
	for format, name := range map[string]string{"table": "print.txt", "origins": "origins.txt", "yaml": "print.yaml", "json": "print.json"} {
		golden(t, name, func(w io.Writer) error { return c.Print(w, format) })
	}
	golden(t, "schema.json", c.Schema)
	golden(t, "env.example", c.EnvExample)
	golden(t, "usage.txt", c.Usage)
	wantError(t, c.Print(io.Discard, "xml"), `unknown format "xml": want table, origins, yaml or json`)
}

func TestPrintedYAMLAndJSONLoadToTheSameConfig(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 1))
		before := random(r)
		c, err := config.Load(config.Options{Sections: before.sections(), Dir: t.TempDir()})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, format := range []string{"yaml", "json"} { // JSON is YAML too
			var printed bytes.Buffer
			if err := c.Print(&printed, format); err != nil {
				t.Fatal(err)
			}
			after, again, err := load(t, source{files: yaml(printed.String())})
			if err != nil || len(again.Warnings()) > 0 {
				t.Fatalf("seed %d, %s: %v, %q\n%s", seed, format, err, again.Warnings(), printed.String())
			}
			if d := config.Diff(c, again); len(d) > 0 {
				t.Fatalf("seed %d, %s: %q differ\n%s", seed, format, d, printed.String())
			}
			if !reflect.DeepEqual(before, after) {
				t.Fatalf("seed %d, %s:\nbefore %+v\nafter  %+v\n%s", seed, format, before, after, printed.String())
			}
		}
	}
}

// random fills every section, except with secrets, and with nothing that only differs as nil from empty.
func random(r *rand.Rand) *all {
	words := []string{"", "a", "yes", "no", "~", "null", "0123", "1e3", "2024-01-01", "a: b", "# x", "- y", "'", "\"", "a\nb\n", "\t", "{{x}}", "é\u2028", "*x", "&x", "!t", "%", "@", "x,y", " lead", "0x10", ".nan", "true", "<<", "=", "https://h/p?q=1#f"}
	word := func() string { return words[r.IntN(len(words))] }
	list := func() []string {
		out := make([]string, 1+r.IntN(3))
		for i := range out {
			out[i] = word()
		}
		return out
	}
	a := defaults()
	a.Server = server{Port: uint16(r.Uint32()), URL: word(), MaxBody: Bytes(r.Int64N(1 << 50))}
	a.Websocket = websocket{Enabled: r.IntN(2) == 0, AllowedHosts: list(), PingInterval: 1 + time.Duration(r.Int64N(1<<60)),
		Trusted: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(r.Uint32()), 1, 2, 3}), r.IntN(33))}}
	a.Webhook.Timeout = -time.Duration(r.Int64())
	a.Webhook.Retry.Jitter = r.NormFloat64() * 1e20
	a.Webhook.Retry.MaxAttempts = -int(r.Int64())
	a.Webhook.Events[word()+"k"] = false
	a.Webhook.Headers = map[string]string{} // secrets
	a.Webhook.Query = map[string]string{"a": "b", word() + "x": word()}
	a.SQS.Events = map[string]bool{"A": r.IntN(2) == 0}
	a.Kafka.Level = int8(r.Uint32())
	if r.IntN(2) == 0 {
		a.Kafka.TLS = &tls{CA: word()}
	}
	a.Extras.Labels = map[string]any{"s": word(), "n": r.IntN(1000), "l": []any{word(), true, map[string]any{"in": word()}}, "m": map[string]any{word() + "y": 1.5}}
	a.Extras.Plugins = map[string]plugin{"p-" + string(rune('a'+r.IntN(26))): {Command: word(), Args: list(), Timeout: time.Duration(r.Int64()), Config: map[string]any{"x": word()}}}
	return a
}

func TestTheSchemaAcceptsWhatIsPrintedAndRefusesMistakes(t *testing.T) {
	_, c := mustLoad(t, sample())
	var text bytes.Buffer
	if err := c.Schema(&text); err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(&text)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("config.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	if err := c.Print(&printed, "json"); err != nil {
		t.Fatal(err)
	}
	for content, valid := range map[string]bool{
		printed.String():                         true,
		`{"sinks": null}`:                        true,
		`{"server": {"max_body": 5}}`:            true,
		`{"sinks": {"kafka": {"connect": 5}}}`:   true,
		`{"server": {"prot": 1}}`:                false,
		`{"server": {"port": "x"}}`:              false,
		`{"server": {"port": -1}}`:               false,
		`{"plugins": {"x": {"comand": "y"}}}`:    false,
		`{"sinks": {"webhook": {"timeout": 5}}}`: false,
	} {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != valid {
			t.Errorf("%s: %v, want valid %t", content, err, valid)
		}
	}
}

func TestTheExampleUncommentedIsTheDefaults(t *testing.T) {
	_, c := mustLoad(t, source{})
	var example bytes.Buffer
	if err := c.EnvExample(&example); err != nil {
		t.Fatal(err)
	}
	if a, _ := mustLoad(t, source{files: map[string]string{".env": example.String()}}); !reflect.DeepEqual(a, defaults()) {
		t.Errorf("the example as it is changes %+v", a)
	}
	live := regexp.MustCompile(`(?m)^# ([A-Z0-9_]+=)`).ReplaceAllString(example.String(), "$1")
	a, again := mustLoad(t, source{files: map[string]string{".env": live}})
	if d := config.Diff(c, again); len(d) > 0 || !reflect.DeepEqual(a.Webhook.Retry, defaults().Webhook.Retry) {
		t.Errorf("uncommented, %q differ:\n%s", d, live)
	}
	if k, _ := again.Key("sinks.webhook.timeout"); k.Origin != ".env" {
		t.Errorf("timeout comes from %q: the uncommented example was not read", k.Origin)
	}
}

func TestControlCharactersDoNotReachTheTerminal(t *testing.T) {
	_, c := mustLoad(t, source{env: []string{"SERVER_URL=a\x1b[31m\tb"}})
	var out bytes.Buffer
	if err := c.Print(&out, "table"); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsRune(out.String(), 0x1b) || !strings.Contains(out.String(), fmt.Sprintf("%q", "a\x1b[31m\tb")) {
		t.Errorf("%q", out.String())
	}
}

func TestAnExamplesValuesAreQuotedSoThatTheyReadBack(t *testing.T) {
	for _, value := range []string{"a b", "a#b", "it's", "it's\r\n\"so\" \\n", "$HOME", "a\nb", "tab\tbed", "`x`"} {
		a := defaults()
		a.Server.URL = value
		a.Webhook.Query = map[string]string{"X-A": "1", "X-B": "two words"}
		c, err := config.Load(config.Options{Sections: a.sections(), Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		var example bytes.Buffer
		if err := c.EnvExample(&example); err != nil {
			t.Fatal(err)
		}
		if b, _ := mustLoad(t, source{files: map[string]string{".env": example.String()}}); b.Server.URL != "" {
			t.Errorf("%q: the commented example sets the URL", value)
		}
		live := regexp.MustCompile(`(?m)^# (SERVER_URL=|SINKS_WEBHOOK_QUERY=)`).ReplaceAllString(example.String(), "$1")
		b, _ := mustLoad(t, source{files: map[string]string{".env": live}})
		if b.Server.URL != value || !reflect.DeepEqual(b.Webhook.Query, a.Webhook.Query) {
			t.Errorf("%q became %q, query %v", value, b.Server.URL, b.Webhook.Query)
		}
	}
}

func TestKeysListsEveryKeyOnceWithItsHelp(t *testing.T) {
	_, c := mustLoad(t, source{})
	seen := map[string]bool{}
	for _, k := range c.Keys() {
		if seen[k.Name] {
			t.Errorf("%s is there twice", k.Name)
		}
		seen[k.Name] = true
	}
	if k, ok := c.Key("server.port"); !ok || k.Help != "TCP port to listen on" || !seen["sinks.kafka.tls.ca"] {
		t.Errorf("%+v, %t", k, ok)
	}
	if _, ok := c.Key("server"); ok {
		t.Error("a section is no key")
	}
}
