package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestALibraryPullsInOnlyWhatItUses(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.Lines(string(out)) {
		for _, foreign := range []string{
			"modernc.org/", "nats-io", "amqp091", "franz-go", "aws-sdk-go", "koanf", "pgx", "redis",
			"evosink/config", "evosink/adapters/httpapi", "evosink/adapters/sqlite", "evosink/plugins/exec",
		} {
			if strings.Contains(pkg, foreign) {
				t.Errorf("the example pulls in %s", pkg)
			}
		}
	}
}

func TestALibraryBuildIsSmall(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "api")
	if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	const limit = 15 << 20
	t.Logf("%.1f MiB", float64(info.Size())/(1<<20))
	if info.Size() > limit {
		t.Errorf("the binary has %d bytes, at most %d are wanted", info.Size(), limit)
	}
}
