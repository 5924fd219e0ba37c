package sqs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/evosink/evosink/core/sink"
)

// maxEntries is how many messages SQS takes in one request.
const maxEntries = 10

var errBehind = errors.New("an event before it, of the same message group, was not taken")

// A parcel is a message and where its answer belongs.
type parcel struct {
	*message
	err *error
}

// send sends messages, those of a queue in order and queues beside each other, and returns what became of each.
func (s *Sink) send(ctx context.Context, messages []*message) []error {
	errs := make([]error, len(messages))
	byQueue := map[queue][]parcel{}
	for i, m := range messages {
		byQueue[m.queue] = append(byQueue[m.queue], parcel{m, &errs[i]})
	}
	var wait sync.WaitGroup
	for q, parcels := range byQueue {
		wait.Go(func() { s.sendTo(ctx, q, parcels) })
	}
	wait.Wait()
	return errs
}

// sendTo sends messages to one queue, request by request.
func (s *Sink) sendTo(ctx context.Context, q queue, rest []parcel) {
	url, err := s.queues.url(ctx, q)
	if err != nil {
		fail(rest, err)
		return
	}
	for len(rest) > 0 {
		var now []parcel
		now, rest = cut(rest, s.config.MaxPayloadSize)
		s.request(ctx, q, url, now)
		rest = sift(rest, now)
	}
}

// cut takes off the messages of the next request. SQS may refuse one entry of a request and take those behind it; what it has taken, it
// will not take again behind the other, because it knows the id. So a request has one message of each group at most, and none
// that would overtake one that stays.
func cut(all []parcel, limit int) (now, rest []parcel) {
	size, seen := 0, map[string]bool{}
	for _, p := range all {
		group := p.group()
		if len(now) == maxEntries || size+p.size > limit && len(now) > 0 || seen[group] {
			rest = append(rest, p)
		} else {
			now = append(now, p)
			size += p.size
		}
		seen[group] = group != ""
	}
	return now, rest
}

// sift answers what is left of groups that have failed, and returns what is left of others.
func sift(rest, sent []parcel) (out []parcel) {
	failed := map[string]bool{}
	for _, p := range sent {
		if *p.err != nil && p.group() != "" {
			failed[p.group()] = true
		}
	}
	for _, p := range rest {
		if failed[p.group()] {
			*p.err = errBehind
			continue
		}
		out = append(out, p)
	}
	return out
}

// request sends one request and fills in the answers.
func (s *Sink) request(ctx context.Context, q queue, url string, now []parcel) {
	in := &awssqs.SendMessageBatchInput{QueueUrl: &url}
	for i, p := range now {
		p.entry.Id = aws.String(strconv.Itoa(i))
		in.Entries = append(in.Entries, p.entry)
	}
	ctx, cancel := context.WithTimeout(ctx, s.config.Timeout)
	defer cancel()
	out, err := s.client.SendMessageBatch(ctx, in)
	if err != nil {
		var missing *types.QueueDoesNotExist
		if errors.As(err, &missing) {
			s.queues.forget(q.name)
		}
		fail(now, failure(ctx, "send to queue "+q.name, err))
		return
	}
	fail(now, fmt.Errorf("send to queue %s: SQS has not answered for the message", q.name))
	for _, ok := range out.Successful {
		if p := entry(now, ok.Id); p != nil {
			*p.err = nil
		}
	}
	for _, bad := range out.Failed {
		if p := entry(now, bad.Id); p != nil {
			code := aws.ToString(bad.Code)
			*p.err = judge(code, fmt.Errorf("send to queue %s: %s: %s", q.name, code, aws.ToString(bad.Message)))
		}
	}
}

// entry returns the parcel that an id of a request stands for; nil if it stands for none.
func entry(now []parcel, id *string) *parcel {
	i, err := strconv.Atoi(aws.ToString(id))
	if err != nil || i < 0 || i >= len(now) {
		return nil
	}
	return &now[i]
}

func fail(parcels []parcel, err error) {
	for _, p := range parcels {
		*p.err = err
	}
}

var _ sink.Batcher = (*Sink)(nil)
