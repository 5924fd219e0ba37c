package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/cli"
)

// plugins runs a command line and tells what the host of plugins was asked.
func plugins(rules []cli.PluginRule, fails error, args ...string) (r result, asked any) {
	commands := cli.PluginCommands(cli.Plugins{
		New: func(n cli.PluginNew) ([]string, error) { asked = n; return []string{"x/main.go", "x/x.json"}, fails },
		Test: func(_ context.Context, t cli.PluginTest, report func(cli.PluginRule)) error {
			asked = t
			for _, rule := range rules {
				report(rule)
			}
			return fails
		},
	})
	var out, errout bytes.Buffer
	code := cli.Main(context.Background(), &cli.Env{Stdout: &out, Stderr: &errout, Args: args}, commands)
	return result{code, out.String(), errout.String()}, asked
}

func TestPluginNewSaysWhatItWrote(t *testing.T) {
	r, asked := plugins(nil, nil, "plugin", "new", "go", "x", "--sdk", "../evosink")
	if asked != (cli.PluginNew{Language: "go", Name: "x", SDK: "../evosink"}) || r.out != "x/main.go\nx/x.json\nRead "+filepath.Join("x", "README.md")+" first.\n" {
		t.Errorf("asked %+v, got %+v", asked, r)
	}
	if r, _ := plugins(nil, errors.New("x is not empty"), "plugin", "new", "go", "x"); r.code != cli.ExitFail || r.errout != "evosink: x is not empty\n" {
		t.Errorf("got %+v", r)
	}
}

func TestPluginTestReadsItsCommandLine(t *testing.T) {
	_, asked := plugins(nil, nil, "plugin", "test", "dir/slack.js", "--set", "url=http://x?a=b", "--set=port=80", "--settings", `{"enabled":true}`,
		"--env", "HTTPS_PROXY", "--accept", "--timeout", "3s", "--", "--debug", "one")
	path, _ := filepath.Abs("dir/slack.js")
	want := cli.PluginTest{
		Path: path, Args: []string{"--debug", "one"}, Env: []string{"HTTPS_PROXY"}, Name: "slack", Accept: true, Timeout: 3 * time.Second,
		Config: map[string]any{"url": "http://x?a=b", "port": 80.0}, Settings: []byte(`{"enabled":true}`),
	}
	if fmt.Sprintf("%+v", asked) != fmt.Sprintf("%+v", want) {
		t.Errorf("asked %+v\nwant  %+v", asked, want)
	}
}

func TestPluginTestExplainsViolationsAndFails(t *testing.T) {
	rules := []cli.PluginRule{{Rule: "it answers ping", Why: "silence"}, {Rule: "it drains", Why: "twice", Err: errors.New("no\nstderr")}, {Rule: "it takes", Note: "3 refused"}}
	r, _ := plugins(rules, errors.New("1 of 3 rules"), "plugin", "test", "x")
	want := "ok    it answers ping\nFAIL  it drains\n      no\n      stderr\n      why: twice\nok    it takes\n      3 refused\n"
	if r.code != cli.ExitFail || r.out != want || r.errout != "evosink: 1 of 3 rules\n" {
		t.Errorf("got %+v", r)
	}
	if r, _ := plugins(rules[:1], nil, "plugin", "test", "x"); r.code != cli.ExitOK || !strings.HasSuffix(r.out, "the plugin keeps all rules\n") {
		t.Errorf("got %+v", r)
	}
}

func TestWrongPluginCommandLinesAreUsageErrors(t *testing.T) {
	for args, want := range map[string]string{
		"plugin": "plugin needs one of", "plugin new go": "needs a language and a name", "plugin test": "needs the path", "plugin test x --set y": "want key=value",
		"plugin test x --settings {": "want JSON", "plugin test x --timeout 0s": "must be above 0",
	} {
		if r, _ := plugins(nil, nil, strings.Fields(args)...); r.code != cli.ExitUsage || !strings.Contains(r.errout, want) {
			t.Errorf("%q: %+v, want %q", args, r, want)
		}
	}
}
