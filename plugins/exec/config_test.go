//go:build unix

package exec_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/evosink/evosink/config"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/plugins/exec"
)

// folder makes a plugins' folder: names that end in .json are manifests, others executables.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "plug[in]s") // with what means something to filepath.Glob
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, dir, yaml string, environ ...string) (*exec.Config, error) {
	t.Helper()
	c := &exec.Config{}
	at := t.TempDir()
	if err := os.WriteFile(filepath.Join(at, "config.yaml"), []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := config.Load(config.Options{Sections: []config.Section{{Path: "", Into: c}}, Environ: append(environ, "PLUGIN_DIR="+dir), Dir: at})
	if err == nil && len(loaded.Warnings()) > 0 {
		t.Errorf("warnings: %q", loaded.Warnings())
	}
	return c, err
}

const script = "#!/bin/sh\n"

func TestPluginsComeFromTheConfigurationAndTheFolder(t *testing.T) {
	dir := folder(t, map[string]string{
		"dropped": script, "dropped.json": `{"protocol":1,"mode":"live","global":true,"events":["CALL"],"args":["-v"]}`,
		"off": script, "off.json": `{"protocol":1}`,
		"named.py": script, "named.json": `{"protocol":1,"command":"named.py"}`,
		"package.json": `{"name":"some node package"}`, "tsconfig.json": "// no JSON",
	})
	c, err := load(t, dir, "plugins:\n  off: {enabled: false}\n  mine: {command: /opt/mine, events: [QRCODE], config: {a: 1}}\n  dropped: {global: false}\n",
		"PLUGIN_MINE__URL=http://x", "PLUGIN_NAMED__PORT=80")
	if err != nil {
		t.Fatal(err)
	}
	factories, err := c.Factories("websocket")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range factories {
		p := f.Config.(*exec.Plugin)
		got = append(got, strings.Join([]string{f.Name, filepath.Base(p.Command), f.Mode.String(), strings.Join(p.Args, " "), mustJSON(t, p.Config), mustJSON(t, []bool{f.Enabled(), f.Rule().Global})}, "|"))
	}
	want := []string{
		`dropped|dropped|live|-v|null|[true,false]`, `mine|mine|queued||{"a":1,"url":"http://x"}|[true,false]`,
		`named|named.py|queued||{"port":"80"}|[true,false]`, `off|off|queued||null|[false,false]`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if r := factories[0].Rule(); !r.Events.Has("call") || r.Events.Has("messages.upsert") {
		t.Error("the manifest's events are not those of the sink")
	}
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestMistakesInTheConfigurationAreExplainedInItsKeys(t *testing.T) {
	dir := folder(t, map[string]string{
		"bad": script, "bad.json": `{"protocol":7,"mode":"fast","command":"../x","settings_schema":{"type":7}}`,
		"typo": script, "typo.json": `{"protocol":1,"setings_schema":{}}`, "broken": script, "broken.json": `{`,
		"Capital.json": `{"protocol":1}`,
	})
	for yaml, wants := range map[string][]string{
		"plugins:\n  x: {mode: fast, sha256: abc, max_in_flight: 9999, timeout: 0s, restart: {min: 0s}, retry: {max_delay: 1ms}, command: ../x, events: [NONSENSE]}\n": {
			`plugins.x.mode must be "queued" or "live", not "fast"`, "plugins.x.sha256 must be 64", "plugins.x.max_in_flight must be from 0 to 1024", "plugins.x.timeout must be above 0",
			"plugins.x.restart.min must", "plugins.x.retry.max_delay must", "plugins.x.command must be absolute", `plugins.x.events: there is no event "NONSENSE"`,
		},
		"plugins:\n  My: {command: /x}\n": {"plugins.My: a plugin's name begins with a lower-case letter"},
		"plugins:\n  x: {comand: /x}\n":   {"did you mean"},
	} {
		_, err := load(t, "", yaml)
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", yaml, err, want)
			}
		}
	}
	for yaml, wants := range map[string][]string{
		"": {
			"protocol is 7", `mode must be "queued"`, "command must be the name of a file in the same folder", "settings_schema: the schema is not valid",
			`unknown field "setings_schema"`, "broken.json", "Capital.json",
		},
		"plugins: {websocket: {command: /x}}": {"plugins.websocket: the name is taken"},
		"plugins: {instance: {command: /x}}":  {"plugins.instance: the name is taken"},
		"plugins: {x: {mode: live}}":          {"plugins.x.command is missing, and ", " has no manifest x.json"},
	} {
		c, err := load(t, dir, yaml)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Factories("websocket")
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", yaml, err, want)
			}
		}
	}
	if _, err := (&exec.Config{Dir: filepath.Join(dir, "none")}).Factories(); err == nil || !strings.Contains(err.Error(), "plugin_dir: ") {
		t.Errorf("got %v", err)
	}
	if _, err := exec.Factory("x", exec.DefaultPlugin()); err == nil || !strings.Contains(err.Error(), "plugins.x.command is missing") {
		t.Errorf("got %v", err)
	}
}

// A manifest that is skipped is a sink that does not exist: its events go nowhere, and nothing tells.
func TestABrokenManifestIsAnErrorThatNamesFileAndKey(t *testing.T) {
	for content, wants := range map[string][]string{
		`{"protocol":1,"command":"x.py"`:  {"no JSON object"},
		`{"command":"x.py",}`:             {"no JSON object"},
		`{"protocol":1} trailing`:         {"no JSON object"},
		`{`:                               {"no JSON object"},
		`[{"protocol":1}]`:                {"no JSON object"},
		`{"command":"x.py"}`:              {"protocol is missing"},
		`{"Protocol":1}`:                  {`"protocol": 1`},
		`{"protocol":1,"Command":"x.py"}`: {`unknown field "Command"`, "settings_schema"},
		`{"protocol":"1"}`:                {"protocol must not be a JSON string"},
		`{"protocol":1,"args":"-v","events":[7],"global":"yes"}`: {"args must not be a JSON string", "events must not be a JSON number", "global must not be a JSON string"},
		`{"protocol":1,"settings_schema":{"type":7}}`:            {"settings_schema"},
		`{"protocol":2}`: {"protocol is 2"},
	} {
		dir := folder(t, map[string]string{"x.py": script, "x.json": content})
		_, err := (&exec.Config{Dir: dir}).Factories()
		for _, want := range append(wants, filepath.Join(dir, "x.json")) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %q", content, err, want)
			}
		}
	}
	dir := folder(t, map[string]string{"gone.json": ""})
	path := filepath.Join(dir, "gone.json")
	if err := errors.Join(os.Remove(path), os.Symlink("nowhere", path)); err != nil {
		t.Fatal(err)
	}
	if _, err := (&exec.Config{Dir: dir}).Factories(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a manifest that cannot be read: %v", err)
	}
}

func TestAManifestThatOthersCanChangeIsRefused(t *testing.T) {
	dir := folder(t, map[string]string{"x": script, "x.json": `{"protocol":1}`})
	if err := os.Chmod(filepath.Join(dir, "x.json"), 0o664); err != nil {
		t.Fatal(err)
	}
	if _, err := (&exec.Config{Dir: dir}).Factories(); err == nil || !strings.Contains(err.Error(), "can be changed by everybody in its group: chmod g-w") {
		t.Errorf("got %v", err)
	}
}

func TestABomBeforeAManifestIsSkipped(t *testing.T) {
	dir := folder(t, map[string]string{"x": script, "x.json": "\ufeff" + `{"protocol":1}`})
	if f, err := (&exec.Config{Dir: dir}).Factories(); err != nil || len(f) != 1 {
		t.Errorf("%d factories, %v", len(f), err)
	}
}

func TestTheRoutesKnowTheManifestsSchemaBeforeThePluginHasRun(t *testing.T) {
	dir := folder(t, map[string]string{"x": script, "x.json": `{"protocol":1,"settings_schema":{
		"type":"object","required":["room"],"properties":{"room":{"type":"string"},"enabled":{"type":"integer"}},"additionalProperties":false}}`})
	factories, err := (&exec.Config{Dir: dir}).Factories()
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(factories[0].Settings.Schema)))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiler.AddResource("evosink:///x", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("evosink:///x")
	if err != nil {
		t.Fatal(err)
	}
	for block, fits := range map[string]bool{
		`{"enabled":true,"room":"a","events":["CALL"]}`: true, `{"enabled":true}`: false, `{"room":"a"}`: false, `{"enabled":1,"room":"a"}`: false, `{"enabled":true,"room":"a","x":1}`: false,
	} {
		v, _ := jsonschema.UnmarshalJSON(strings.NewReader(block))
		if err := schema.Validate(v); (err == nil) != fits {
			t.Errorf("%s: %v", block, err)
		}
		if _, err := factories[0].Normalize(json.RawMessage(block), nil); (err == nil) != fits {
			t.Errorf("normalize %s: %v", block, err)
		}
	}
}

func TestADeliveryWaitsForAPluginThatIsDownInALaneOfItsOwn(t *testing.T) {
	s, _ := start(t, plugin(t, "exits"))
	if err := s.Deliver(t.Context(), delivery("sales", "1", "{}")); !sink.IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
	a := s.(sink.Addresser)
	if a.Address(sink.Global, "global", "a") == a.Address(sink.Global, "global", "b") {
		t.Error("one instance's failures would shut the breaker of all")
	}
	if p := s.(sink.Retrier).Retry(nil); p.Timeout <= exec.DefaultPlugin().Timeout || p.Attempts != 10 {
		t.Errorf("the policy is %+v", p)
	}
}

func TestSchemasThatCostMoreThanTheirSizeAreRefused(t *testing.T) {
	for raw, want := range map[string]string{
		`[]`: "must be a JSON object", `{`: "not JSON", `{"$ref":"http://localhost/x"}`: "uses $ref", `{"$id":"http://x"}`: "uses $id",
		`{"properties":{"a":{"$dynamicRef":"#x"}}}`: "uses $dynamicRef", `{"$schema":"http://localhost:1/x"}`: "not valid",
		`{"type":"nonsense"}`: "not valid", `{"properties":{"a":{"pattern":"("}}}`: "not valid",
		strings.Repeat(`{"not":`, 40) + `{}` + strings.Repeat(`}`, 40): "nested deeper", `{"x":"` + strings.Repeat("x", 70_000) + `"}`: "at most 65536",
	} {
		if err := exec.CheckSchema(json.RawMessage(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: got %v, want %q", raw, err, want)
		}
	}
	for _, fine := range []string{``, `{}`, `{"$schema":"https://json-schema.org/draft/2020-12/schema","properties":{"id":{"type":"string"},"$ref":{}}}`} {
		if err := exec.CheckSchema(json.RawMessage(fine)); err != nil {
			t.Errorf("%s: %v", fine, err)
		}
	}
}

func FuzzCheckSchema(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"type":"object","required":["url"],"properties":{"url":{"type":"string","format":"uri"}}}`, `{"$ref":"#"}`, `{"type":[]}`,
		`{"allOf":[{"not":{}}],"items":{"enum":[1,null]},"patternProperties":{"^a":{}},"dependentRequired":{"a":["b"]}}`, `{"$schema":7}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := exec.CheckSchema(raw); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("the error has lines: %q", err)
		}
	})
}
