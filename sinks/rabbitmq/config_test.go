package rabbitmq_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/rabbitmq"
)

func TestTheDefaultsNeedAnAddressOnly(t *testing.T) {
	c := rabbitmq.Defaults()
	if err := c.Validate(); err != nil {
		t.Errorf("a sink that is off is held to its configuration: %v", err)
	}
	c.Enabled = true
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "uri is missing") {
		t.Errorf("without an address: %v", err)
	}
	c.URI = "amqp://broker.example"
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateSaysWhichKeyIsWrong(t *testing.T) {
	for want, change := range map[string]func(*rabbitmq.Config){
		"uri cannot be read":               func(c *rabbitmq.Config) { c.URI = "nats://h" },
		"username and password":            func(c *rabbitmq.Config) { c.Username = "u" },
		"exchange_name must not be empty":  func(c *rabbitmq.Config) { c.GlobalEnabled, c.ExchangeName = true, "" },
		"exchange_name has 256 bytes":      func(c *rabbitmq.Config) { c.ExchangeName = strings.Repeat("x", 256) },
		"exchange_name must not begin":     func(c *rabbitmq.Config) { c.ExchangeName = "amq.topic" },
		"frame_max":                        func(c *rabbitmq.Config) { c.FrameMax = 100 },
		"channels":                         func(c *rabbitmq.Config) { c.Channels = 0 },
		"connect_timeout":                  func(c *rabbitmq.Config) { c.ConnectTimeout = 0 },
		"write_timeout":                    func(c *rabbitmq.Config) { c.WriteTimeout = -1 },
		"reconnect_max":                    func(c *rabbitmq.Config) { c.ReconnectMax = 0 },
		"heartbeat":                        func(c *rabbitmq.Config) { c.Heartbeat = time.Millisecond },
		"queues.type":                      func(c *rabbitmq.Config) { c.Queues.Type = "stream" },
		"queues.message_ttl":               func(c *rabbitmq.Config) { c.Queues.MessageTTL = -1 },
		"queues.overflow":                  func(c *rabbitmq.Config) { c.Queues.Overflow = "drop" },
		"queues.dead_letter_routing_key":   func(c *rabbitmq.Config) { c.Queues.DeadLetterRoutingKey = "k" },
		"tls.cert_file":                    func(c *rabbitmq.Config) { c.TLS.CertFile = "x" },
		"events.MESAGES: there is no such": func(c *rabbitmq.Config) { c.Events = sink.Switches{"MESAGES": true} },
		"custom_queues lists":              func(c *rabbitmq.Config) { c.CustomQueues = []string{"true"} },
	} {
		c := rabbitmq.Defaults()
		c.Enabled, c.URI = true, "amqp://broker.example"
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestTLSFilesAreReadBeforeTheStart(t *testing.T) {
	c := rabbitmq.Defaults()
	c.URI, c.TLS.CAFile = "amqps://broker.example", "testdata/no-such-file.pem"
	if _, err := rabbitmq.New(c, sink.Host{}); err == nil || !strings.Contains(err.Error(), "tls.ca_file") {
		t.Errorf("got %v", err)
	}
}

// amqps without a port is 5671, which the reference gets wrong (evolution.md 3.3).
func TestThePortFollowsTheScheme(t *testing.T) {
	for uri, want := range map[string]string{
		"amqp://broker.invalid": "broker.invalid:5672", "amqps://broker.invalid": "broker.invalid:5671",
		"amqps://broker.invalid:443/eu": "broker.invalid:443/eu", "amqp://broker.invalid/%2Feu": "broker.invalid:5672//eu",
	} {
		c := rabbitmq.Defaults()
		c.URI = uri
		s, err := rabbitmq.New(c, sink.Host{Logger: zerolog.Nop(), Directory: sinktest.Directory{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Check(t.Context()); err == nil || !strings.HasSuffix(err.Error(), " "+want) {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

func TestTheGlobalRuleIsWhatIsSwitchedOn(t *testing.T) {
	c := rabbitmq.Defaults()
	c.Enabled, c.GlobalEnabled = true, true
	rule := func() sink.Rule { return rabbitmq.Spec.Rule(&c) }
	if rule().Global {
		t.Error("with no event switched on, everything is delivered")
	}
	c.Events = sink.Switches{"GROUPS_UPDATE": true, "CALL": false}
	if r := rule(); !r.Global || !r.Events.Has("groups.update") || r.Events.Has("call") || r.Exclusive {
		t.Errorf("switches: %+v", r)
	}
	c.Events, c.GlobalEvents = nil, []string{"CONNECTION"}
	if r := rule(); !r.Events.Has("LoggedOut") || r.Events.Has("Message") {
		t.Error("groups of Evolution Go are not understood")
	}
	c.GlobalEvents = []string{"ALL"}
	if r := rule(); !r.Events.All() {
		t.Error("ALL is not all")
	}
}
