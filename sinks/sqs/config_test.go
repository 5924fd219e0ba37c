package sqs_test

import (
	"strings"
	"testing"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/sqs"
)

func TestValidateSaysWhatToDoByTheUsersKey(t *testing.T) {
	for says, change := range map[string]func(*sqs.Config){
		"access_key_id and secret_access_key": func(c *sqs.Config) { c.AccessKeyID = "k" },
		"session_token belongs":               func(c *sqs.Config) { c.SessionToken = "t" },
		`global_prefix_name "a b"`:            func(c *sqs.Config) { c.PrefixName = "a b" },
		"endpoint must be a URL":              func(c *sqs.Config) { c.Endpoint = "localhost:9324" },
		"max_payload_size must be":            func(c *sqs.Config) { c.MaxPayloadSize = 1 },
		"timeout must be above 0":             func(c *sqs.Config) { c.Timeout = 0 },
		"s3.bucket must be set":               func(c *sqs.Config) { c.S3.Enabled = true },
		"s3.access_key and s3.secret_key": func(c *sqs.Config) {
			c.S3 = sqs.S3{Enabled: true, Bucket: "b", SecretKey: "s"}
		},
		"s3.port must be": func(c *sqs.Config) { c.S3 = sqs.S3{Enabled: true, Bucket: "b", Port: 70000} },
		"s3.endpoint must be": func(c *sqs.Config) {
			c.S3 = sqs.S3{Enabled: true, Bucket: "b", Endpoint: "ftp://x"}
		},
		"events.MESSAGE_UPSERT: there is no": func(c *sqs.Config) { c.Events = sink.Switches{"MESSAGE_UPSERT": true} },
		"custom_queues lists":                func(c *sqs.Config) { c.CustomQueues = []string{"true"} },
	} {
		c := sqs.Defaults()
		change(&c)
		if err := c.Validate(); err != nil {
			t.Errorf("a sink that is off is not fine: %v", err)
		}
		c.Enabled = true
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want it to say %q", err, says)
		}
	}
	c := sqs.Defaults()
	c.Enabled = true
	if err := c.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestGlobalQueuesExcludeInstancesOwn(t *testing.T) {
	for events, wanted := range map[string]bool{"": false, "CALL": true} {
		f := sink.Use(sqs.Spec, func(c *sqs.Config) {
			c.GlobalEnabled = true
			if events != "" {
				c.Events = sink.Switches{events: true}
			}
		})
		if r := f.Rule(); !r.Global || !r.Exclusive || r.Events.Has("call") != wanted || r.Events.Has("messages.upsert") {
			t.Errorf("with %q: %+v", events, r)
		}
	}
	if r := sink.Use(sqs.Spec).Rule(); r.Global {
		t.Errorf("off by default, but %+v", r)
	}
}

func TestTheRegionComesFromAWSsOwnVariablesIfFromNowhereElse(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	if _, err := sqs.New(sqs.Defaults(), sink.Host{}); err == nil || !strings.Contains(err.Error(), "SQS_REGION") {
		t.Errorf("without any: %v", err)
	}
	t.Setenv("AWS_REGION", "sa-east-1")
	if _, err := sqs.New(sqs.Defaults(), sink.Host{}); err != nil {
		t.Errorf("with AWS_REGION: %v", err)
	}
}

// Without keys of its own the sink asks the usual places: here variables, elsewhere files and roles.
func TestTheDefaultChainGivesTheCredentials(t *testing.T) {
	a := newAccount(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	c := a.config()
	c.AccessKeyID, c.SecretAccessKey, c.Region = "", "", ""
	t.Setenv("AWS_REGION", "us-east-1")
	sinktest.Deliver(t, start(t, c), sinktest.NewDelivery(sink.Instance, a.name, "call"))
	a.take(a.name+"_call.fifo", 1)
}
