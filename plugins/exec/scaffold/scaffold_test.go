//go:build unix

package scaffold_test

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evosink/evosink/plugins/exec"
	"github.com/evosink/evosink/plugins/exec/plugintest"
	"github.com/evosink/evosink/plugins/exec/scaffold"
)

func TestWhatIsWrittenIsAPluginThatKeepsTheRules(t *testing.T) {
	for language, needs := range map[string]string{"go": "go", "node": "node", "python": "python3"} {
		t.Run(language, func(t *testing.T) {
			if _, err := osexec.LookPath(needs); err != nil {
				if os.Getenv("EVOSINK_REQUIRE_CLIENTS") != "" {
					t.Fatalf("%s is required here: %v", needs, err)
				}
				t.Skipf("needs %s", needs)
			}
			dir := filepath.Join(t.TempDir(), "new")
			written, err := scaffold.Write(scaffold.Plugin{Language: language, Name: "my-sink", Dir: dir, SDK: "../../.."})
			if err != nil || len(written) < 3 {
				t.Fatalf("%q, %v", written, err)
			}
			if language == "go" {
				build := osexec.Command("go", "build", "-o", "my-sink", ".")
				build.Dir, build.Env = dir, append(os.Environ(), "GOPROXY=off", "GOFLAGS=")
				if out, err := build.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			section := exec.Config{Dir: dir}
			f, err := section.Factories()
			if err != nil || len(f) != 1 || f[0].Name != "my-sink" {
				t.Fatalf("the manifest makes %d sinks, %v", len(f), err)
			}
			s := plugintest.Subject{
				Path: f[0].Config.(*exec.Plugin).Command, Accept: true, Config: map[string]any{"greeting": "hello"},
			}
			err = plugintest.Run(t.Context(), s, func(r plugintest.Result) {
				if r.Err != nil {
					t.Errorf("%s: %v", r.Rule, r.Err)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNothingIsOverwrittenAndMistakesAreExplained(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, p := range map[string]scaffold.Plugin{
		"choose one of go, node, python": {Language: "perl", Name: "x"},
		"begins with a lower-case":       {Language: "go", Name: "../x"},
		"is not empty":                   {Language: "go", Name: "x", Dir: full},
		"is no checkout":                 {Language: "go", Name: "x", SDK: full},
	} {
		if _, err := scaffold.Write(p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", p, err, want)
		}
	}
}
