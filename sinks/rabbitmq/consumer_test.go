package rabbitmq_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/evosink/evosink/core/sink"
)

// nodeConsumer starts testdata/consumer, a consumer made with amqplib after Evolution API's documentation, and returns the
// lines it prints once it is ready.
func nodeConsumer(t *testing.T, args ...string) *bufio.Scanner {
	t.Helper()
	if _, err := os.Stat("testdata/consumer/node_modules/amqplib"); err != nil {
		if os.Getenv("EVOSINK_REQUIRE_CLIENTS") == "1" {
			t.Fatal("amqplib is required: npm ci --prefix testdata/consumer")
		}
		t.Skip("amqplib is not installed: npm ci --prefix testdata/consumer")
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

func TestConsumersOfEvolutionReceiveUnchanged(t *testing.T) {
	b := newBroker(t)
	instance, global := b.name+" Loja 1", b.name
	events := []string{"messages.upsert", "group-participants.update", "connection.update"}
	for _, c := range []struct {
		scope            sink.Scope
		exchange, prefix string
	}{{sink.Instance, instance, instance}, {sink.Global, global, global}} {
		t.Run(c.scope.String(), func(t *testing.T) {
			b.owns(c.exchange)
			for _, e := range events {
				b.owns(c.prefix + "." + e)
			}
			s := start(t, b.config())
			before := delivery(c.scope, instance, events[0])
			deliver(t, s, before) // what comes before the consumer does is kept for it
			lines := nodeConsumer(t, append([]string{b.uri, c.exchange, c.prefix}, events...)...)
			for _, e := range events {
				deliver(t, s, delivery(c.scope, instance, e))
			}
			got := map[string]int{}
			for range len(events) + 1 {
				if !lines.Scan() {
					t.Fatal("the consumer has ended")
				}
				var line struct {
					Queue, Key, Event, Instance string
					Data                        struct{ PushName string }
				}
				if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
					t.Fatalf("%v: %s", err, lines.Bytes())
				}
				if line.Queue != c.prefix+"."+line.Event || line.Key != line.Event || line.Instance != instance || line.Data.PushName != "Ana <&> Zoë" {
					t.Errorf("got %+v", line)
				}
				got[line.Event]++
			}
			if got[events[0]] != 2 || got[events[1]] != 1 || got[events[2]] != 1 {
				t.Errorf("got %v", got)
			}
		})
	}
}
