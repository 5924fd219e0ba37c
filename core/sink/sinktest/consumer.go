package sinktest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// NodeConsumer runs consumer.js of a folder, a consumer made with the official client as users of Evolution API write
// theirs, and returns the lines it prints after the first, which is "ready". The test is skipped when the client, an
// npm package, is not installed there, unless EVOSINK_REQUIRE_CLIENTS=1.
func NodeConsumer(t testing.TB, folder, client string, args ...string) *bufio.Scanner {
	t.Helper()
	if _, err := os.Stat(filepath.Join(folder, "node_modules", client)); err != nil {
		if os.Getenv("EVOSINK_REQUIRE_CLIENTS") == "1" {
			t.Fatalf("%s is required: npm ci --prefix %s", client, folder)
		}
		t.Skipf("%s is not installed: npm ci --prefix %s", client, folder)
	}
	cmd := exec.Command("node", append([]string{filepath.Join(folder, "consumer.js")}, args...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the end of its input ends it
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the consumer says %q", lines.Text())
	}
	return lines
}
