package kafka

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evosink/evosink/core/sink"
)

// Config is the configuration of the sink. Names, types and defaults of the variables are those of Evolution API where
// it has them. Begin with [Defaults].
type Config struct {
	Enabled       bool          `koanf:"enabled" env:"KAFKA_ENABLED" help:"produce events to Kafka"`
	GlobalEnabled bool          `koanf:"global_enabled" env:"KAFKA_GLOBAL_ENABLED" help:"produce the events of all instances to topics that they share"`
	Events        sink.Switches `koanf:"events" env:"KAFKA_EVENTS_*" help:"events of the global topics, by config name; ALL means all"`

	Brokers     []string `koanf:"brokers" env:"KAFKA_BROKERS" help:"host:port of some brokers; the others are found through them"`
	ClientID    string   `koanf:"client_id" env:"KAFKA_CLIENT_ID" help:"what brokers call this client in their logs and quotas"`
	TopicPrefix string   `koanf:"topic_prefix" env:"KAFKA_TOPIC_PREFIX" help:"begins the names of topics: prefix.instance.messages.upsert"`

	AutoCreateTopics  bool     `koanf:"auto_create_topics" env:"KAFKA_AUTO_CREATE_TOPICS" help:"create topics; off: they are yours or the brokers' (auto.create.topics.enable) to create"`
	CustomTopics      []string `koanf:"custom_topics" env:"KAFKA_CUSTOM_TOPICS" help:"events outside the catalogue that have topics of their own, prefix.instance.custom.name; all others share prefix.instance.custom"`
	NumPartitions     int32    `koanf:"num_partitions" env:"KAFKA_NUM_PARTITIONS" help:"partitions of topics that are created"`
	ReplicationFactor int16    `koanf:"replication_factor" env:"KAFKA_REPLICATION_FACTOR" help:"replicas of topics that are created"`

	Compression     string        `koanf:"compression" env:"KAFKA_COMPRESSION" help:"none, gzip, snappy, lz4 or zstd; kafkajs reads none and gzip without help"`
	MaxMessageBytes int32         `koanf:"max_message_bytes" env:"KAFKA_MAX_MESSAGE_BYTES" help:"largest event, as it is before compression, and largest batch; not above the topics' max.message.bytes"`
	ConnectTimeout  time.Duration `koanf:"connect_timeout" env:"KAFKA_CONNECTION_TIMEOUT" unit:"ms" help:"how long connecting to a broker may take"`
	RequestTimeout  time.Duration `koanf:"request_timeout" env:"KAFKA_REQUEST_TIMEOUT" unit:"ms" help:"how long the brokers may take to acknowledge an event"`
	ReconnectMax    time.Duration `koanf:"reconnect_max" env:"KAFKA_RECONNECT_MAX" help:"longest pause between attempts to connect"`

	SASL SASL `koanf:"sasl"`
	TLS  TLS  `koanf:"tls"`
}

// SASL holds the credentials of the sink.
type SASL struct {
	Enabled   bool   `koanf:"enabled" env:"KAFKA_SASL_ENABLED" help:"authenticate"`
	Mechanism string `koanf:"mechanism" env:"KAFKA_SASL_MECHANISM" help:"plain, scram-sha-256 or scram-sha-512"`
	Username  string `koanf:"username" env:"KAFKA_SASL_USERNAME" help:"user"`
	Password  string `koanf:"password" env:"KAFKA_SASL_PASSWORD" secret:"true" help:"password"`
}

// Defaults returns the configuration of an installation that sets nothing.
func Defaults() Config {
	return Config{
		Brokers: []string{"localhost:9092"}, ClientID: "evolution-api", TopicPrefix: "evolution",
		NumPartitions: 1, ReplicationFactor: 1, Compression: "none", MaxMessageBytes: 1_000_012,
		ConnectTimeout: 3 * time.Second, RequestTimeout: 30 * time.Second, ReconnectMax: 30 * time.Second,
		SASL: SASL{Mechanism: "plain"}, TLS: TLS{RejectUnauthorized: true},
	}
}

// Validate reports everything that is wrong with c, in keys of the section. What a sink that is off would not use is
// not looked at.
func (c *Config) Validate() error {
	if !c.Enabled {
		return nil
	}
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(len(c.Brokers) > 0, "brokers must name at least one broker: host:9092 (KAFKA_BROKERS)")
	check(escape(c.TopicPrefix) == c.TopicPrefix,
		"topic_prefix %q: Kafka allows letters, digits, dots, - and _", c.TopicPrefix)
	check(c.NumPartitions >= 1, "num_partitions must be at least 1")
	check(c.ReplicationFactor >= 1, "replication_factor must be at least 1")
	check(c.MaxMessageBytes >= 16<<10, "max_message_bytes must be at least 16384")
	_, known := codecs[c.Compression]
	check(known, "compression must be none, gzip, snappy, lz4 or zstd, not %q", c.Compression)
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"connect_timeout", c.ConnectTimeout}, {"request_timeout", c.RequestTimeout}, {"reconnect_max", c.ReconnectMax}} {
		check(d.value > 0, "%s must be above 0", d.key)
	}
	errs = append(errs, sink.ValidateCustom("custom_topics", c.CustomTopics), c.SASL.validate(), c.TLS.validate(),
		c.Events.Check("events"))
	return errors.Join(errs...)
}

func (s *SASL) validate() error {
	if !s.Enabled {
		return nil
	}
	var errs []error
	if _, known := mechanisms[strings.ToLower(s.Mechanism)]; !known {
		errs = append(errs, fmt.Errorf("sasl.mechanism must be plain, scram-sha-256 or scram-sha-512, not %q", s.Mechanism))
	}
	if s.Username == "" || s.Password == "" {
		errs = append(errs, errors.New("sasl.username and sasl.password must be set while sasl.enabled is on"))
	}
	return errors.Join(errs...)
}

// rule makes the sink a global one when any event is switched on.
func (c *Config) rule() sink.Rule { return c.Events.Rule(c.GlobalEnabled) }

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}
