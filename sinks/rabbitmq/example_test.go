package rabbitmq_test

import (
	"fmt"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/rabbitmq"
)

// In main's table the sink is a line. What the configuration's files and variables would set can be set in Go as well.
func Example() {
	f := sink.Use(rabbitmq.Spec, func(c *rabbitmq.Config) {
		c.Enabled = true
		c.URI = "amqp://user:p%40ss@broker.example:5672/production"
		c.GlobalEnabled, c.Events = true, sink.Switches{"MESSAGES_UPSERT": true, "GROUP_UPDATE": true}
	})
	r := f.Rule()
	fmt.Println(f.Name, f.Mode, r.Global, r.Events.Has("groups.update"), r.Events.Has("call"))
	// Output: rabbitmq queued true true false
}
