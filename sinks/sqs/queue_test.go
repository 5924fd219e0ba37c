package sqs_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/sqs"
)

// An account is the emulator as its consumers see it.
type account struct {
	t    testing.TB
	url  string
	name string // begins the names of the test's queues
	aws  aws.Config
	sqs  *awssqs.Client
}

func newAccount(t testing.TB) *account {
	t.Helper()
	a := &account{t: t, url: emulator.address(t), name: "t" + event.NewID()[24:]}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	a.aws = aws.Config{
		Region: "us-east-1", BaseEndpoint: &a.url, HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
	}
	a.sqs = awssqs.NewFromConfig(a.aws)
	return a
}

// config is that of a sink of the account.
func (a *account) config() sqs.Config {
	c := sqs.Defaults()
	c.Enabled, c.Endpoint, c.Region, c.AccessKeyID, c.SecretAccessKey, c.PrefixName = true, a.url, "us-east-1", "key", "secret", a.name
	return c
}

func (a *account) bucket() string {
	a.t.Helper()
	name := "b-" + a.name
	client := s3.NewFromConfig(a.aws, func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := client.CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		a.t.Fatal(err)
	}
	return name
}

func (a *account) find(queue string) (string, bool) {
	out, err := a.sqs.GetQueueUrl(context.Background(), &awssqs.GetQueueUrlInput{QueueName: &queue})
	if err != nil {
		return "", false
	}
	return *out.QueueUrl, true
}

func (a *account) attributes(queue string) map[string]string {
	a.t.Helper()
	url, ok := a.find(queue)
	if !ok {
		a.t.Fatalf("there is no queue %s", queue)
	}
	out, err := a.sqs.GetQueueAttributes(context.Background(), &awssqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{"All"}})
	if err != nil {
		a.t.Fatal(err)
	}
	return out.Attributes
}

// receive takes what a queue holds, once; nothing if there is no queue yet.
func (a *account) receive(queue string) []types.Message {
	url, ok := a.find(queue)
	if !ok {
		return nil
	}
	out, err := a.sqs.ReceiveMessage(context.Background(), &awssqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
	})
	if err != nil {
		a.t.Errorf("receive: %v", err)
		return nil
	}
	for _, m := range out.Messages {
		if _, err := a.sqs.DeleteMessage(context.Background(), &awssqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
			a.t.Errorf("delete: %v", err)
		}
	}
	return out.Messages
}

// take takes n messages, and fails if there are more.
func (a *account) take(queue string, n int) (out []types.Message) {
	a.t.Helper()
	for deadline := time.Now().Add(sinktest.Patience); len(out) < n; {
		if time.Now().After(deadline) {
			a.t.Fatalf("%d of %d messages are in %s", len(out), n, queue)
		}
		out = append(out, a.receive(queue)...)
	}
	if more := a.receive(queue); len(out) > n || len(more) > 0 {
		a.t.Fatalf("more than %d messages are in %s", n, queue)
	}
	return out
}

func attribute(m types.Message, name string) string {
	return aws.ToString(m.MessageAttributes[name].StringValue)
}

// A listener records the ids of the events that arrive in a queue.
type listener struct {
	mu sync.Mutex
	// mu guards the field below.
	ids []string
}

func (a *account) listen(t *testing.T, queue string) *listener {
	l := &listener{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			messages := a.receive(queue)
			l.mu.Lock()
			for _, m := range messages {
				l.ids = append(l.ids, attribute(m, "id"))
			}
			l.mu.Unlock()
			if len(messages) == 0 {
				time.Sleep(5 * time.Millisecond)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

func (l *listener) arrived() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.ids...)
}

// start makes and starts a sink that is closed with the test.
func start(t testing.TB, c sqs.Config, hosts ...sink.Host) *sqs.Sink {
	t.Helper()
	return sinktest.Start(t, sqs.New, c, hosts...)
}

// large makes the event of a delivery larger than n bytes.
func large(d *sink.Delivery, n int) *sink.Delivery {
	d.Event.Data = json.RawMessage(`{"base64":"` + strings.Repeat("x", n) + `"}`)
	return d
}

func (a *account) delete(url string) {
	a.t.Helper()
	if _, err := a.sqs.DeleteQueue(context.Background(), &awssqs.DeleteQueueInput{QueueUrl: &url}); err != nil {
		a.t.Fatal(err)
	}
}
