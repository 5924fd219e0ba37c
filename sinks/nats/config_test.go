package nats_test

import (
	"strings"
	"testing"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/nats"
)

func TestTheDefaultsNeedAnAddressOnly(t *testing.T) {
	c := nats.Defaults()
	if err := c.Validate(); err != nil {
		t.Errorf("a sink that is off is held to its configuration: %v", err)
	}
	c.Enabled = true
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "uri is missing") {
		t.Errorf("without an address: %v", err)
	}
	for _, uri := range []string{"nats.example", "nats://a:4222, nats://b:4222", "tls://h", "wss://h/path"} {
		c.URI = uri
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

func TestValidateSaysWhichKeyIsWrong(t *testing.T) {
	for want, change := range map[string]func(*nats.Config){
		"uri cannot be read":          func(c *nats.Config) { c.URI = "amqp://h" },
		"username and password":       func(c *nats.Config) { c.Username = "u" },
		"exclude each other":          func(c *nats.Config) { c.Token, c.NKeyFile = "t", "f" },
		"prefix_key":                  func(c *nats.Config) { c.PrefixKey = "a..b" },
		"timeout must be above 0":     func(c *nats.Config) { c.Timeout = 0 },
		"connect_timeout":             func(c *nats.Config) { c.ConnectTimeout = 0 },
		"write_timeout":               func(c *nats.Config) { c.WriteTimeout = -1 },
		"ping_interval":               func(c *nats.Config) { c.PingInterval = 0 },
		"reconnect_max":               func(c *nats.Config) { c.ReconnectMax = 0 },
		"jetstream.enabled is off":    func(c *nats.Config) { c.JetStream.Stream = "S" },
		"jetstream.stream must not":   func(c *nats.Config) { c.JetStream.Enabled, c.JetStream.Stream = true, "a.b" },
		"jetstream.max_age":           func(c *nats.Config) { c.JetStream.MaxAge = -1 },
		"jetstream.replicas":          func(c *nats.Config) { c.JetStream.Replicas = 0 },
		"tls.cert_file":               func(c *nats.Config) { c.TLS.KeyFile = "x" },
		"events.MESAGES: there is no": func(c *nats.Config) { c.Events = sink.Switches{"MESAGES": true} },
		"custom_subjects lists":       func(c *nats.Config) { c.CustomSubjects = []string{"true"} },
	} {
		c := nats.Defaults()
		c.Enabled, c.URI = true, "nats://nats.example"
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, bad := range []string{"nats://u:s3cret@h:port", "nats://u:s3cret%zz@h", "http://u:s3cret@h"} {
		c := nats.Config{Enabled: true, URI: bad}
		if err := c.Validate(); err == nil || strings.Contains(err.Error(), "s3c") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestFilesAreReadBeforeTheStart(t *testing.T) {
	for name, change := range map[string]func(*nats.Config){
		"creds":       func(c *nats.Config) { c.CredsFile = "testdata/none" },
		"NKey":        func(c *nats.Config) { c.NKeyFile = "testdata/none" },
		"CA":          func(c *nats.Config) { c.TLS.CAFile = "testdata/none" },
		"certificate": func(c *nats.Config) { c.TLS.CertFile, c.TLS.KeyFile = "testdata/none", "testdata/none" },
	} {
		c := config("nats://nats.example")
		change(&c)
		if _, err := nats.New(c, sink.Host{}); err == nil || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheGlobalRuleIsWhatIsSwitchedOn(t *testing.T) {
	c := nats.Defaults()
	c.Enabled, c.GlobalEnabled = true, true
	if nats.Spec.Rule(&c).Global {
		t.Error("with no event switched on, everything is delivered")
	}
	c.Events = sink.Switches{"GROUP_UPDATE": true, "CALL": false}
	if r := nats.Spec.Rule(&c); !r.Global || !r.Events.Has("groups.update") || r.Events.Has("call") || r.Exclusive {
		t.Errorf("switches: %+v", r)
	}
}
