package examples_test

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestACopiedMainWithOneMoreLineIsABuildOfYourOwn does what custom/README.md says.
func TestACopiedMainWithOneMoreLineIsABuildOfYourOwn(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	own := t.TempDir()
	for _, name := range []string{"main.go", "go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if name == "main.go" {
			b = []byte(withPrinter(t, string(b)))
		}
		if err := os.WriteFile(filepath.Join(own, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(own, "printer"), os.DirFS("custom/printer")); err != nil {
		t.Fatal(err)
	}
	in := func(name string, args ...string) string {
		c := osexec.Command(name, args...)
		c.Dir, c.Env = own, append(os.Environ(), "GOFLAGS=", "GOPROXY=off")
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	in("go", "mod", "edit", "-module", "own", "-require", "github.com/evosink/evosink@v0.0.0", "-replace", "github.com/evosink/evosink="+root)
	in("go", "build", "-o", "evosink", ".")
	if out := in(filepath.Join(own, "evosink"), "config", "env"); !strings.Contains(out, "PRINTER_PREFIX") {
		t.Errorf("the build does not know its own sink:\n%s", out)
	}
}

var tableLine = regexp.MustCompile(`(?m)^\s*sink\.Use\(\w+\.Spec\),\n`)

// withPrinter adds an import and a line to the table of sinks.
func withPrinter(t *testing.T, main string) string {
	t.Helper()
	lines := tableLine.FindAllStringIndex(main, -1)
	if len(lines) == 0 {
		t.Fatal("main.go has no table of sinks with a line for each")
	}
	at := lines[len(lines)-1][1]
	main = main[:at] + "sink.Use(printer.Spec),\n" + main[at:]
	return strings.Replace(main, "import (\n", "import (\n\t\"own/printer\"\n", 1)
}
