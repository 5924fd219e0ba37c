package sqs

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// Config is the configuration of the sink. Names, types and defaults of the variables are those of Evolution API where
// it has them. Begin with [Defaults].
type Config struct {
	Enabled          bool          `koanf:"enabled" env:"SQS_ENABLED" help:"send events to Amazon SQS"`
	GlobalEnabled    bool          `koanf:"global_enabled" env:"SQS_GLOBAL_ENABLED" help:"send the events of all instances to queues that they share, and none to instances' own"`
	ForceSingleQueue bool          `koanf:"global_force_single_queue" env:"SQS_GLOBAL_FORCE_SINGLE_QUEUE" help:"one global queue for all events instead of one for each: prefix_singlequeue.fifo"`
	PrefixName       string        `koanf:"global_prefix_name" env:"SQS_GLOBAL_PREFIX_NAME" help:"begins the names of the global queues: prefix_messages_upsert.fifo"`
	Events           sink.Switches `koanf:"events" env:"SQS_GLOBAL_*" help:"events of the global queues, by config name; ALL means all"`

	AccessKeyID     string `koanf:"access_key_id" env:"SQS_ACCESS_KEY_ID" help:"access key; without one the usual places are asked: variables, files and roles of AWS"`
	SecretAccessKey string `koanf:"secret_access_key" env:"SQS_SECRET_ACCESS_KEY" secret:"true" help:"its secret"`
	SessionToken    string `koanf:"session_token" env:"SQS_SESSION_TOKEN" secret:"true" help:"its session token, if it is a temporary one"`
	AccountID       string `koanf:"account_id" env:"SQS_ACCOUNT_ID" help:"account that owns the queues, if it is not the key's"`
	Region          string `koanf:"region" env:"SQS_REGION" help:"region of the queues, like sa-east-1"`
	Endpoint        string `koanf:"endpoint" env:"SQS_ENDPOINT" help:"address of a service that speaks SQS, instead of the region's: https://sqs.internal:9324"`

	FIFO           bool          `koanf:"fifo" env:"SQS_FIFO" help:"FIFO queues: in order, each event once; off: standard queues, names without .fifo"`
	CreateQueues   bool          `koanf:"create_queues" env:"SQS_CREATE_QUEUES" help:"create queues; off: they are yours to create"`
	CustomQueues   []string      `koanf:"custom_queues" env:"SQS_CUSTOM_QUEUES" help:"events outside the catalogue that have queues of their own, instance_custom_name; all others share instance_custom"`
	MaxPayloadSize int           `koanf:"max_payload_size" env:"SQS_MAX_PAYLOAD_SIZE" help:"largest message in bytes, and largest request; a larger event goes to S3, or without s3.enabled becomes a dead letter"`
	ServerName     string        `koanf:"server_name" env:"SERVER_NAME" help:"\"server\" in the envelope, and the first part of global message groups"`
	Timeout        time.Duration `koanf:"timeout" env:"SQS_TIMEOUT_MS" help:"how long one request may take"`

	S3 S3 `koanf:"s3"`
}

// S3 says where events go that are larger than a message. The variables are those of Evolution API.
type S3 struct {
	Enabled   bool   `koanf:"enabled" env:"S3_ENABLED" help:"put events that are too large into a bucket, and their address into the message"`
	Bucket    string `koanf:"bucket" env:"S3_BUCKET" help:"the bucket"`
	Region    string `koanf:"region" env:"S3_REGION" help:"its region; empty: that of the queues"`
	Endpoint  string `koanf:"endpoint" env:"S3_ENDPOINT" help:"host of a service that speaks S3, or its URL; empty: the region's"`
	Port      int    `koanf:"port" env:"S3_PORT" help:"port of endpoint, if that is a host; 0: that of the scheme"`
	UseSSL    bool   `koanf:"use_ssl" env:"S3_USE_SSL" help:"talk https to endpoint, if that is a host"`
	AccessKey string `koanf:"access_key" env:"S3_ACCESS_KEY" help:"access key; without one, that of the queues"`
	SecretKey string `koanf:"secret_key" env:"S3_SECRET_KEY" secret:"true" help:"its secret"`
}

// Defaults returns the configuration of an installation that sets nothing.
func Defaults() Config {
	return Config{
		PrefixName: "global", FIFO: true, CreateQueues: true, MaxPayloadSize: 1 << 20,
		ServerName: "evolution", Timeout: 20 * time.Second,
		S3: S3{Port: 9000},
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
	check((c.AccessKeyID == "") == (c.SecretAccessKey == ""),
		"access_key_id and secret_access_key belong together: give both or none")
	check(c.SessionToken == "" || c.AccessKeyID != "", "session_token belongs to access_key_id, which is missing")
	check(c.PrefixName != "" && escape(c.PrefixName) == c.PrefixName,
		"global_prefix_name %q: SQS allows letters, digits, - and _", c.PrefixName)
	check(c.Endpoint == "" || isURL(c.Endpoint), "endpoint must be a URL like https://sqs.internal:9324")
	check(c.MaxPayloadSize >= 4<<10, "max_payload_size must be at least 4096")
	check(c.Timeout > 0, "timeout must be above 0")
	errs = append(errs, sink.ValidateCustom("custom_queues", c.CustomQueues), c.S3.validate(), c.Events.Check("events"))
	return errors.Join(errs...)
}

func (s *S3) validate() error {
	if !s.Enabled {
		return nil
	}
	var errs []error
	if s.Bucket == "" {
		errs = append(errs, errors.New("s3.bucket must be set while s3.enabled is on (S3_BUCKET)"))
	}
	if (s.AccessKey == "") != (s.SecretKey == "") {
		errs = append(errs, errors.New("s3.access_key and s3.secret_key belong together: give both or none"))
	}
	if s.Port < 0 || s.Port > 65535 {
		errs = append(errs, errors.New("s3.port must be from 0 to 65535"))
	}
	if e := s.url(); e != "" && !isURL(e) {
		errs = append(errs, errors.New("s3.endpoint must be a host or a URL"))
	}
	return errors.Join(errs...)
}

// url returns the endpoint as a URL, "" for that of the region.
func (s *S3) url() string {
	if s.Endpoint == "" || strings.Contains(s.Endpoint, "://") {
		return s.Endpoint
	}
	scheme := "http"
	if s.UseSSL {
		scheme = "https"
	}
	if s.Port == 0 {
		return scheme + "://" + s.Endpoint
	}
	return fmt.Sprintf("%s://%s:%d", scheme, s.Endpoint, s.Port)
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// rule makes global queues exclude instances' own, also while no event is switched on.
func (c *Config) rule() sink.Rule {
	r := c.Events.Rule(c.GlobalEnabled)
	if c.GlobalEnabled && !r.Global {
		r = sink.Rule{Global: true, Events: event.NewFilter("")} // no event has an empty name
	}
	r.Exclusive = true
	return r
}
