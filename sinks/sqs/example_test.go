package sqs_test

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/sqs"
)

// What arrives at SQS. In a program the core makes the sink and its deliveries.
func Example() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // stands in for SQS
		var in struct {
			QueueName string
			Queue     string `json:"QueueUrl"`
			Entries   []struct {
				ID              string `json:"Id"`
				Body            string `json:"MessageBody"`
				Group           string `json:"MessageGroupId"`
				DeduplicationID string `json:"MessageDeduplicationId"`
			}
		}
		json.NewDecoder(r.Body).Decode(&in)
		if in.QueueName != "" {
			json.NewEncoder(w).Encode(map[string]string{"QueueUrl": "https://sqs/1/" + in.QueueName})
			return
		}
		m := in.Entries[0]
		fmt.Println(in.Queue, m.Group, m.DeduplicationID)
		fmt.Println(m.Body)
		json.NewEncoder(w).Encode(map[string]any{"Successful": []map[string]string{
			{"Id": m.ID, "MessageId": "1", "MD5OfMessageBody": fmt.Sprintf("%x", md5.Sum([]byte(m.Body)))},
		}})
	}))
	defer service.Close()

	factory := sink.Use(sqs.Spec, func(c *sqs.Config) {
		c.Enabled, c.Endpoint, c.Region, c.AccessKeyID, c.SecretAccessKey = true, service.URL, "sa-east-1", "key", "secret"
	})
	s, err := factory.New(sink.Host{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer s.Close(ctx)
	e := &event.Event{ID: "0192aa", Name: "group-participants.update", Instance: "sales", Time: time.UnixMilli(1761055239512), Data: json.RawMessage(`{"action":"add"}`)}
	fmt.Println(s.Deliver(ctx, &sink.Delivery{Event: e, Scope: sink.Instance, Target: "instance", Attempt: 1, Key: sink.Key(e, "instance")}))
	// Output:
	// https://sqs/1/sales_group_participants_update.fifo evolution 0192aa/@sales/instance
	// {"event":"group-participants.update","instance":"sales","dataType":"json","data":{"action":"add"},"server":"evolution","date_time":"2025-10-21T14:00:39.512Z","apikey":null,"id":"0192aa"}
	// <nil>
}
