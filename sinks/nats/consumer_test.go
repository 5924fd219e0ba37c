package nats_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// nodeConsumer starts testdata/consumer, a subscriber made with nats.js after Evolution API's documentation, and returns the
// lines it prints once it is ready.
func nodeConsumer(t *testing.T, args ...string) *bufio.Scanner {
	t.Helper()
	if _, err := os.Stat("testdata/consumer/node_modules/nats"); err != nil {
		if os.Getenv("EVOSINK_REQUIRE_CLIENTS") == "1" {
			t.Fatal("nats.js is required: npm ci --prefix testdata/consumer")
		}
		t.Skip("nats.js is not installed: npm ci --prefix testdata/consumer")
	}
	cmd := exec.Command("node", append([]string{"testdata/consumer/consumer.js"}, args...)...)
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
	lines := bufio.NewScanner(out)
	t.Cleanup(func() { // the end of its input ends it
		in.Close()
		io.Copy(io.Discard, out)
		cmd.Wait()
	})
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the consumer says %q", lines.Text())
	}
	return lines
}

func TestSubscribersOfEvolutionReceiveUnchanged(t *testing.T) {
	uri, _ := service(t)
	instance := "evosink-test-" + event.NewID()
	c := config(uri)
	c.PrefixKey = instance + "-global"
	s := start(t, c)
	lines := nodeConsumer(t, uri, instance+".messages.upsert", instance+".group-participants.update", c.PrefixKey+".connection.update")
	for _, k := range []struct {
		scope         sink.Scope
		name, subject string
	}{
		{sink.Instance, "messages.upsert", instance + ".messages.upsert"},
		{sink.Instance, "group-participants.update", instance + ".group-participants.update"},
		{sink.Global, "connection.update", c.PrefixKey + ".connection.update"},
	} {
		deliver(t, s, delivery(k.scope, instance, k.name))
		if !lines.Scan() {
			t.Fatal("the consumer has ended")
		}
		var got struct {
			Subject, Event, Instance string
			Data                     struct{ PushName string }
		}
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatalf("%v: %s", err, lines.Bytes())
		}
		if got.Subject != k.subject || got.Event != k.name || got.Instance != instance || got.Data.PushName != "Ana <&> Zoë" {
			t.Errorf("got %+v", got)
		}
	}
}
