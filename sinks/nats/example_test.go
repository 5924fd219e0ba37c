package nats_test

import (
	"fmt"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/nats"
)

// In main's table the sink is a line. What the configuration's files and variables would set can be set in Go as well.
func Example() {
	f := sink.Use(nats.Spec, func(c *nats.Config) {
		c.Enabled = true
		c.URI, c.CredsFile = "tls://nats.example", "/run/secrets/evosink.creds"
		c.JetStream = nats.JetStream{Enabled: true, Stream: "EVENTS", Replicas: 3}
	})
	fmt.Println(f.Name, f.Mode, f.Enabled(), f.Rule().Global)
	// Output: nats queued true false
}
