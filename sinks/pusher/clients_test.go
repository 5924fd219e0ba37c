package pusher_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
)

// needs skips a test whose client is not installed, unless the environment says that it must be there.
func needs(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		return
	}
	if os.Getenv("EVOSINK_REQUIRE_CLIENTS") != "" {
		t.Fatalf("%s is missing", path)
	}
	t.Skipf("%s is missing: `task clients` installs it", path)
}

func TestPushersOwnClientReceivesUs(t *testing.T) {
	needs(t, "testdata/client/node_modules/pusher-js")
	s := newServer(t)
	cmd := exec.CommandContext(t.Context(), "node", "testdata/client/client.js", s.host(), appKey, "sales", "messages.upsert")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stdin.Close(); cmd.Wait() }()
	lines := bufio.NewScanner(stdout)
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("the client printed %q, want %q", lines.Text(), want)
		}
	}
	expect("subscribed")
	it := start(t, s.config())
	sinktest.Deliver(t, it, delivery(sink.Instance, "sales", "messages.upsert", `{"text":"olá <b>"}`))
	expect(`messages.upsert of sales: {"text":"olá <b>"}`)
	batch := []*sink.Delivery{delivery(sink.Instance, "other", "messages.upsert", `0`)}
	for i := range 12 {
		batch = append(batch, delivery(sink.Instance, "sales", "messages.upsert", fmt.Sprint(i)))
	}
	for _, err := range it.DeliverBatch(t.Context(), batch) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 12 {
		expect(fmt.Sprintf("messages.upsert of sales: %d", i))
	}
}
