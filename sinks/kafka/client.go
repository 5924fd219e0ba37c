package kafka

import (
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// options turns the configuration into the client's.
func (c *Config) options(hooks kgo.Hook) ([]kgo.Opt, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...), kgo.ClientID(c.ClientID), kgo.WithHooks(hooks),
		kgo.RequiredAcks(kgo.AllISRAcks()), // with idempotence, which is the client's default
		kgo.ProducerBatchCompression(codecs[c.Compression]),
		kgo.ProducerBatchMaxBytes(c.MaxMessageBytes),
		kgo.ProducerLinger(0), // the delivery queue has made batches
		kgo.ProduceRequestTimeout(c.RequestTimeout),
		// A delivery ends with its context. (RecordDeliveryTimeout would count from the record's timestamp, the event's time.) What it leaves in flight cannot come in late: the next record of the
		// partition has a higher epoch, and brokers refuse the lower one from then on.
		kgo.AllowIdempotentProduceCancellation(),
		kgo.AllowAutoTopicCreation(), // as kafkajs asks for; the brokers decide
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.UnknownTopicRetries(3),
	}
	tls, err := c.TLS.config()
	if err != nil {
		return nil, err
	}
	if tls != nil {
		opts = append(opts, kgo.DialTLSConfig(tls))
	}
	opts = append(opts, kgo.DialTimeout(c.ConnectTimeout))
	if c.SASL.Enabled {
		opts = append(opts, kgo.SASL(mechanisms[strings.ToLower(c.SASL.Mechanism)](c.SASL)))
	}
	return opts, kgo.ValidateOpts(opts...)
}

var mechanisms = map[string]func(SASL) sasl.Mechanism{
	"plain": func(s SASL) sasl.Mechanism { return plain.Auth{User: s.Username, Pass: s.Password}.AsMechanism() },
	"scram-sha-256": func(s SASL) sasl.Mechanism {
		return scram.Auth{User: s.Username, Pass: s.Password}.AsSha256Mechanism()
	},
	"scram-sha-512": func(s SASL) sasl.Mechanism {
		return scram.Auth{User: s.Username, Pass: s.Password}.AsSha512Mechanism()
	},
}
