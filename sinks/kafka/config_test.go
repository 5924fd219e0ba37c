package kafka_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/kafka"
)

func TestValidateSaysWhatToDoByTheUsersKey(t *testing.T) {
	for says, change := range map[string]func(*kafka.Config){
		"brokers must name":                     func(c *kafka.Config) { c.Brokers = nil },
		`topic_prefix "a b"`:                    func(c *kafka.Config) { c.TopicPrefix = "a b" },
		"num_partitions must be at least 1":     func(c *kafka.Config) { c.NumPartitions = 0 },
		"replication_factor must be at least 1": func(c *kafka.Config) { c.ReplicationFactor = 0 },
		"max_message_bytes must be":             func(c *kafka.Config) { c.MaxMessageBytes = 1 },
		"compression must be none":              func(c *kafka.Config) { c.Compression = "brotli" },
		"request_timeout must be above 0":       func(c *kafka.Config) { c.RequestTimeout = 0 },
		"sasl.mechanism must be plain": func(c *kafka.Config) {
			c.SASL = kafka.SASL{Enabled: true, Mechanism: "aws", Username: "u", Password: "p"}
		},
		"sasl.username and sasl.password":      func(c *kafka.Config) { c.SASL.Enabled = true },
		"tls.cert and tls.key belong together": func(c *kafka.Config) { c.TLS.Cert = "x" },
		"events.MESSAGE_UPSERT: there is no":   func(c *kafka.Config) { c.Events = sink.Switches{"MESSAGE_UPSERT": true} },
		"custom_topics lists":                  func(c *kafka.Config) { c.CustomTopics = []string{"true"} },
	} {
		c := kafka.Defaults()
		change(&c)
		if err := c.Validate(); err != nil {
			t.Errorf("a sink that is off is not fine: %v", err)
		}
		c.Enabled = true
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want it to say %q", err, says)
		}
	}
	c := kafka.Defaults()
	c.Enabled = true
	if err := c.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestTheRuleIsGlobalOnlyWithAnEvent(t *testing.T) {
	f := sink.Use(kafka.Spec, func(c *kafka.Config) { c.GlobalEnabled = true })
	if f.Enabled() || f.Rule().Global {
		t.Error("enabled, or global without any event")
	}
	f = sink.Use(kafka.Spec, func(c *kafka.Config) {
		c.GlobalEnabled, c.Events = true, sink.Switches{"GROUP_UPDATE": true}
	})
	if r := f.Rule(); !r.Global || !r.Events.Has("groups.update") || r.Events.Has("call") || r.Exclusive {
		t.Errorf("got %+v", r)
	}
}

func TestTheSinkAuthenticates(t *testing.T) {
	for mechanism, method := range map[string]string{
		"plain": "PLAIN", "SCRAM-SHA-256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512",
	} {
		t.Run(mechanism, func(t *testing.T) {
			c := cluster(t, kfake.EnableSASL(), kfake.Superuser(method, "evo", "pä ss"))
			conf := config(c)
			conf.SASL = kafka.SASL{Enabled: true, Mechanism: mechanism, Username: "evo", Password: "pä ss"}
			sinktest.Deliver(t, start(t, conf), delivery(sink.Instance, "sales", "call"))

			conf.SASL.Password = "wr0ng"
			err := start(t, conf).Deliver(t.Context(), delivery(sink.Instance, "sales", "call"))
			if !sink.IsUnavailable(err) || strings.Contains(err.Error(), "wr0ng") {
				t.Errorf("with a wrong password: %v", err)
			}
		})
	}
}

func TestTheSinkTalksTLS(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}))
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte(authority), 0o600); err != nil {
		t.Fatal(err)
	}
	c := cluster(t, kfake.TLS(web.TLS))
	for name, tls := range map[string]kafka.TLS{
		"PEM text":              {Enabled: true, RejectUnauthorized: true, CA: authority},
		"PEM text on one line":  {Enabled: true, RejectUnauthorized: true, CA: strings.ReplaceAll(authority, "\n", `\n`)},
		"a file":                {Enabled: true, RejectUnauthorized: true, CA: file},
		"any certificate":       {Enabled: true},
		"another name is right": {Enabled: true, RejectUnauthorized: true, CA: authority, ServerName: "example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			conf := config(c)
			conf.TLS = tls
			sinktest.Deliver(t, start(t, conf), delivery(sink.Instance, "sales", "call"))
		})
	}
	conf := config(c)
	conf.TLS = kafka.TLS{Enabled: true, RejectUnauthorized: true}
	err := start(t, conf).Deliver(t.Context(), delivery(sink.Instance, "sales", "call"))
	var unknown x509.UnknownAuthorityError
	if !sink.IsUnavailable(err) || !strings.Contains(err.Error(), unknown.Error()) {
		t.Errorf("a broker that nobody vouches for: %v", err)
	}
}

func TestACertificateThatCannotBeReadIsAnErrorThatHidesIt(t *testing.T) {
	for _, tls := range []kafka.TLS{
		{Enabled: true, CA: "MIIsecret"}, {Enabled: true, CA: "-----BEGIN MIIsecret"},
		{Enabled: true, Cert: "MIIsecret", Key: "MIIsecret"},
		{Enabled: true, Cert: "-----BEGIN MIIsecret", Key: "-----BEGIN MIIsecret"},
	} {
		c := kafka.Defaults()
		c.TLS = tls
		_, err := kafka.New(c, sink.Host{Logger: zerolog.Nop()})
		if err == nil || !strings.Contains(err.Error(), "tls.c") || strings.Contains(err.Error(), "MIIsecret") {
			t.Errorf("got %v", err)
		}
	}
}

func TestEveryCompressionArrives(t *testing.T) {
	c := cluster(t)
	for _, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		conf := config(c)
		conf.Compression = name
		sinktest.Deliver(t, start(t, conf), delivery(sink.Instance, name, "call"))
		if got := consume(t, c, "evolution."+name+".call").wait(t, 1)[0]; len(got.Value) == 0 {
			t.Errorf("%s: empty", name)
		}
	}
}

func TestCloseWithoutStartIsSafe(t *testing.T) {
	s, err := kafka.New(kafka.Defaults(), sink.Host{Logger: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
