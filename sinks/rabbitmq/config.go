package rabbitmq

import (
	"errors"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/evosink/evosink/core/sink"
)

// Config is the configuration of the sink. Names, types and defaults of the variables are those of Evolution API where
// it has them; AMQP_* are Evolution Go's. Begin with [Defaults].
type Config struct {
	Enabled       bool          `koanf:"enabled" env:"RABBITMQ_ENABLED" help:"publish events to RabbitMQ"`
	GlobalEnabled bool          `koanf:"global_enabled" env:"RABBITMQ_GLOBAL_ENABLED,AMQP_GLOBAL_ENABLED" help:"publish the events of all instances to one exchange"`
	Events        sink.Switches `koanf:"events" env:"RABBITMQ_EVENTS_*" help:"events of the global exchange, by config name; ALL means all"`
	GlobalEvents  []string      `koanf:"global_events" env:"AMQP_SPECIFIC_EVENTS,AMQP_GLOBAL_EVENTS" help:"the same as a list, of names or groups of Evolution Go"`

	URI      string `koanf:"uri" env:"RABBITMQ_URI,AMQP_URL" help:"amqp://user:password@host:5672/vhost, or amqps:// (port 5671); percent-encode reserved characters"`
	Username string `koanf:"username" env:"RABBITMQ_USERNAME" help:"user, instead of the one in uri"`
	Password string `koanf:"password" env:"RABBITMQ_PASSWORD" secret:"true" help:"password of username, as it is"`

	ExchangeName string `koanf:"exchange_name" env:"RABBITMQ_EXCHANGE_NAME" help:"the global exchange"`
	PrefixKey    string `koanf:"prefix_key" env:"RABBITMQ_PREFIX_KEY" help:"stands before the names of the global queues: prefix.messages.upsert"`

	Declare            bool     `koanf:"declare" env:"RABBITMQ_DECLARE" help:"create exchanges, queues and bindings; off: they are yours to create"`
	Mandatory          bool     `koanf:"mandatory" env:"RABBITMQ_MANDATORY" help:"with declare off: an event that no queue takes is a failure, not dropped"`
	DeleteWithInstance bool     `koanf:"delete_with_instance" env:"RABBITMQ_DELETE_WITH_INSTANCE" help:"delete the exchange and queues that were made for an instance, with what they hold, when it is deleted; each is marked by an exchange that begins with evosink/"`
	CustomQueues       []string `koanf:"custom_queues" env:"RABBITMQ_CUSTOM_QUEUES" help:"events outside the catalogue that have queues of their own, instance.custom.name; all others share instance.custom"`
	Queues             Queues   `koanf:"queues"`

	FrameMax       int           `koanf:"frame_max" env:"RABBITMQ_FRAME_MAX" help:"largest frame in bytes; 0 leaves it to the broker"`
	Channels       int           `koanf:"channels" env:"RABBITMQ_CHANNELS" help:"most channels open at once, each with the confirms of one delivery or batch"`
	Heartbeat      time.Duration `koanf:"heartbeat" env:"RABBITMQ_HEARTBEAT" help:"time between heartbeats; heartbeat=30 in uri wins"`
	ConnectTimeout time.Duration `koanf:"connect_timeout" env:"RABBITMQ_CONNECT_TIMEOUT" help:"how long connecting may take, handshakes included"`
	WriteTimeout   time.Duration `koanf:"write_timeout" env:"RABBITMQ_WRITE_TIMEOUT" help:"how long the broker may refuse to read before the connection is given up"`
	ReconnectMax   time.Duration `koanf:"reconnect_max" env:"RABBITMQ_RECONNECT_MAX" help:"longest pause between attempts to connect"`
	TLS            TLS           `koanf:"tls"`
}

// Queues are the properties of queues that the sink creates. One that exists already stays as it is.
type Queues struct {
	Type                 string        `koanf:"type" env:"RABBITMQ_QUEUE_TYPE" help:"quorum or classic"`
	MessageTTL           time.Duration `koanf:"message_ttl" env:"RABBITMQ_MESSAGE_TTL" help:"how long an event waits for its consumer; 0 is for ever"`
	MaxLength            int64         `koanf:"max_length" env:"RABBITMQ_MAX_LENGTH" help:"most events in a queue; 0 sets no limit"`
	MaxLengthBytes       int64         `koanf:"max_length_bytes" env:"RABBITMQ_MAX_LENGTH_BYTES" help:"most bytes in a queue; 0 sets no limit"`
	Overflow             string        `koanf:"overflow" env:"RABBITMQ_OVERFLOW" help:"what a full queue does: drop-head or reject-publish, which makes the delivery wait"`
	DeadLetterExchange   string        `koanf:"dead_letter_exchange" env:"RABBITMQ_DEAD_LETTER_EXCHANGE" help:"where RabbitMQ puts what consumers reject, or what expires"`
	DeadLetterRoutingKey string        `koanf:"dead_letter_routing_key" env:"RABBITMQ_DEAD_LETTER_ROUTING_KEY" help:"with this routing key; empty keeps the event's"`
}

// Defaults returns the configuration of an installation that sets nothing.
func Defaults() Config {
	return Config{
		ExchangeName: "evolution_exchange", Declare: true, Queues: Queues{Type: "quorum"},
		Channels: 32, Heartbeat: 10 * time.Second,
		ConnectTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, ReconnectMax: 30 * time.Second,
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
	_, err := c.uri()
	check(err == nil, "%w", err)
	check((c.Username == "") == (c.Password == ""), "username and password belong together: give both or none")
	check(!c.GlobalEnabled || c.ExchangeName != "", "exchange_name must not be empty while global_enabled is on")
	check(len(c.ExchangeName) <= maxName, "exchange_name has %d bytes, RabbitMQ allows %d", len(c.ExchangeName), maxName)
	check(!strings.HasPrefix(c.ExchangeName, reserved),
		"exchange_name must not begin with %s, which RabbitMQ reserves", reserved)
	check(c.FrameMax == 0 || c.FrameMax >= 4096, "frame_max must be 0 or at least 4096 (RabbitMQ 4.1 wants 8192)")
	check(c.Channels >= 1 && c.Channels <= 2000, "channels must be from 1 to 2000")
	for _, d := range []struct {
		key   string
		value time.Duration
	}{{"connect_timeout", c.ConnectTimeout}, {"write_timeout", c.WriteTimeout}, {"reconnect_max", c.ReconnectMax}} {
		check(d.value > 0, "%s must be above 0", d.key)
	}
	check(c.Heartbeat >= time.Second, "heartbeat must be at least 1s")
	errs = append(errs, sink.ValidateCustom("custom_queues", c.CustomQueues), c.Queues.validate(), c.TLS.validate(),
		c.Events.Check("events"))
	return errors.Join(errs...)
}

func (q *Queues) validate() error {
	var errs []error
	if q.Type != "quorum" && q.Type != "classic" {
		errs = append(errs, fmt.Errorf("queues.type must be quorum or classic, not %q", q.Type))
	}
	if q.MessageTTL < 0 || q.MaxLength < 0 || q.MaxLengthBytes < 0 {
		errs = append(errs, errors.New("queues.message_ttl, queues.max_length and "+
			" queues.max_length_bytes must not be below 0; 0 sets no limit"))
	}
	switch q.Overflow {
	case "", "drop-head", "reject-publish":
	default:
		errs = append(errs, fmt.Errorf("queues.overflow must be drop-head or reject-publish, not %q", q.Overflow))
	}
	if q.DeadLetterRoutingKey != "" && q.DeadLetterExchange == "" {
		errs = append(errs, errors.New("queues.dead_letter_routing_key needs queues.dead_letter_exchange"))
	}
	return errors.Join(errs...)
}

// uri reads URI. Its error repeats nothing of it: wherever the text is wrong, a password may stand.
func (c *Config) uri() (amqp.URI, error) {
	if c.URI == "" {
		return amqp.URI{}, errors.New("uri is missing: give it as amqp://user:password@host:5672/vhost (RABBITMQ_URI)")
	}
	uri, err := amqp.ParseURI(c.URI)
	if err != nil {
		return uri, errors.New("uri cannot be read: write amqp://user:password@host:5672/vhost, or amqps://, and " +
			"percent-encode what is reserved in user, password and vhost (@ is %40, / is %2F)")
	}
	return uri, nil
}

// rule makes the sink a global one when any event is switched on.
func (c *Config) rule() sink.Rule { return c.Events.Rule(c.GlobalEnabled, c.GlobalEvents...) }

// arguments are the queue arguments that q stands for.
func (q *Queues) arguments() amqp.Table {
	args := amqp.Table{}
	if q.Type == "quorum" {
		args[amqp.QueueTypeArg] = amqp.QueueTypeQuorum
	}
	for key, value := range map[string]int64{
		amqp.QueueMessageTTLArg: q.MessageTTL.Milliseconds(),
		amqp.QueueMaxLenArg:     q.MaxLength, amqp.QueueMaxLenBytesArg: q.MaxLengthBytes,
	} {
		if value > 0 {
			args[key] = value
		}
	}
	for key, value := range map[string]string{
		amqp.QueueOverflowArg:    q.Overflow,
		"x-dead-letter-exchange": q.DeadLetterExchange, "x-dead-letter-routing-key": q.DeadLetterRoutingKey,
	} {
		if value != "" {
			args[key] = value
		}
	}
	return args
}
