package sqs

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/rs/zerolog"
)

// queues knows the URLs of queues. It asks for each once, and again after forget.
type queues struct {
	client *awssqs.Client
	config *Config
	log    zerolog.Logger

	mu sync.Mutex
	// mu guards the field below.
	urls map[string]string // by name
}

// maxURLs bounds what is remembered, that of deleted instances included; all is asked for again then.
const maxURLs = 1 << 17

// url returns the URL of a queue. One that does not exist is created if the configuration says so.
func (q *queues) url(ctx context.Context, it queue) (string, error) {
	q.mu.Lock()
	url, ok := q.urls[it.name]
	q.mu.Unlock()
	if ok {
		return url, nil
	}
	url, err := q.find(ctx, it)
	if err != nil {
		return "", err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.urls) > maxURLs {
		clear(q.urls)
	}
	q.urls[it.name] = url
	return url, nil
}

func (q *queues) find(ctx context.Context, it queue) (string, error) {
	in := &awssqs.GetQueueUrlInput{QueueName: &it.name}
	if q.config.AccountID != "" {
		in.QueueOwnerAWSAccountId = &q.config.AccountID
	}
	found, err := q.client.GetQueueUrl(ctx, in)
	var missing *types.QueueDoesNotExist
	switch {
	case err == nil:
		return aws.ToString(found.QueueUrl), nil
	case isDenied(err) && q.config.AccountID != "" && q.config.Endpoint == "":
		return fmt.Sprintf("https://sqs.%s.amazonaws.com/%s/%s", q.client.Options().Region, q.config.AccountID, it.name), nil // as Evolution API does
	case !errors.As(err, &missing):
		return "", failure(ctx, "find queue "+it.name, err)
	case !q.config.CreateQueues:
		return "", fmt.Errorf("there is no queue %s: create it, or set create_queues", it.name)
	}
	return q.create(ctx, it)
}

func (q *queues) create(ctx context.Context, it queue) (string, error) {
	in := &awssqs.CreateQueueInput{QueueName: &it.name, Attributes: map[string]string{}}
	if it.fifo {
		in.Attributes["FifoQueue"] = "true"
	}
	if it.fifo && it.global {
		in.Attributes["ContentBasedDeduplication"] = "true"
	}
	made, err := q.client.CreateQueue(ctx, in)
	if err != nil {
		return "", failure(ctx, "create queue "+it.name, err)
	}
	q.log.Info().Str("queue", it.name).Msg("queue created")
	return aws.ToString(made.QueueUrl), nil
}

// forget lets the next event for a queue look for it again.
func (q *queues) forget(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.urls, name)
}

func isDenied(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && denials[api.ErrorCode()]
}
