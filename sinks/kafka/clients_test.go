package kafka_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/evosink/evosink/core/sink"
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

func TestAConsumerOfEvolutionsDocumentationReadsUs(t *testing.T) {
	needs(t, "testdata/consumer/node_modules/kafkajs")
	const topic = "evolution.sales.messages.upsert"
	for _, compression := range []string{"none", "gzip"} {
		t.Run(compression, func(t *testing.T) {
			c := cluster(t, kfake.SeedTopics(1, topic))
			conf := config(c)
			conf.Compression = compression
			s := start(t, conf)
			const n = 20
			var batch []*sink.Delivery
			for i := range n {
				d := delivery(sink.Instance, "sales", "messages.upsert")
				d.Event.Data = fmt.Appendf(nil, `{"n":%d,"text":%q}`, i, strings.Repeat("olá ", 100))
				batch = append(batch, d)
			}
			for _, err := range s.DeliverBatch(t.Context(), batch) {
				if err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), "node", "testdata/consumer/consumer.js", strings.Join(c.ListenAddrs(), ","), topic, fmt.Sprint(n))
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(strings.NewReader(string(out)))
			for i := range n {
				want := fmt.Sprintf(`{"event":"messages.upsert","instance":"sales","data":{"n":%d,"text":%q},"key":"sales","header":"messages.upsert"}`, i, strings.Repeat("olá ", 100))
				if !lines.Scan() || lines.Text() != want {
					t.Fatalf("the consumer printed %s\nwant %s", lines.Text(), want)
				}
			}
		})
	}
}
