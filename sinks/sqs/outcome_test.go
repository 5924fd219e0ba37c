package sqs_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/sqs"
)

// A stub speaks as much of SQS's protocol (AWS JSON 1.0) as it takes to answer what an emulator never would.
type stub struct {
	*httptest.Server
	answer func(w http.ResponseWriter, entries []entry) // to SendMessageBatch

	mu sync.Mutex
	// mu guards the field below.
	requests [][]entry
}

type entry struct {
	ID            string `json:"Id"`
	MessageBody   string
	Group         string `json:"MessageGroupId"`
	Deduplication string `json:"MessageDeduplicationId"`
}

func newStub(t *testing.T, answer func(w http.ResponseWriter, entries []entry)) *stub {
	s := &stub{answer: answer}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		QueueName string
		Entries   []entry
	}
	json.NewDecoder(r.Body).Decode(&in)
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch target := r.Header.Get("X-Amz-Target"); target {
	case "AmazonSQS.GetQueueUrl":
		json.NewEncoder(w).Encode(map[string]string{"QueueUrl": s.URL + "/1/" + in.QueueName})
	case "AmazonSQS.SendMessageBatch":
		s.mu.Lock()
		s.requests = append(s.requests, in.Entries)
		s.mu.Unlock()
		s.answer(w, in.Entries)
	default:
		http.Error(w, target, http.StatusNotImplemented)
	}
}

func (s *stub) seen() [][]entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]entry(nil), s.requests...)
}

// accept takes all entries but those whose bodies contain refused.
func accept(w http.ResponseWriter, entries []entry, refused, code string) {
	var out struct{ Successful, Failed []map[string]any }
	for _, e := range entries {
		if refused != "" && strings.Contains(e.MessageBody, refused) {
			out.Failed = append(out.Failed, map[string]any{"Id": e.ID, "Code": code, "Message": "no", "SenderFault": false})
			continue
		}
		sum := md5.Sum([]byte(e.MessageBody))
		out.Successful = append(out.Successful, map[string]any{"Id": e.ID, "MessageId": e.ID, "MD5OfMessageBody": hex.EncodeToString(sum[:])})
	}
	json.NewEncoder(w).Encode(out)
}

func refuse(status int, code string) func(http.ResponseWriter, []entry) {
	return func(w http.ResponseWriter, _ []entry) {
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazonaws.sqs#" + code, "message": "no"})
	}
}

func (s *stub) config() sqs.Config {
	c := sqs.Defaults()
	c.Enabled, c.Endpoint, c.Region, c.AccessKeyID, c.SecretAccessKey, c.CreateQueues = true, s.URL, "us-east-1", "key", "s3cr3t", false
	return c
}

func TestWhatSQSAnswersDecidesWhatBecomesOfAnEvent(t *testing.T) {
	for _, want := range []struct {
		answer                 func(http.ResponseWriter, []entry)
		says                   string
		permanent, unavailable bool
	}{
		{refuse(403, "InvalidClientTokenId"), "InvalidClientTokenId", false, true},
		{refuse(400, "ExpiredToken"), "ExpiredToken", false, true},
		{refuse(403, "AccessDenied"), "AccessDenied", false, false},
		{refuse(400, "InvalidMessageContents"), "InvalidMessageContents", true, false},
		{func(w http.ResponseWriter, e []entry) { accept(w, e, "event", "InternalError") }, "InternalError", false, true},
		{func(w http.ResponseWriter, e []entry) { accept(w, e, "event", "InvalidMessageContents") }, "InvalidMessageContents", true, false},
		{func(w http.ResponseWriter, e []entry) { accept(w, e, "event", "Strange") }, "Strange", false, false},
		{func(w http.ResponseWriter, _ []entry) { accept(w, nil, "", "") }, "not answered", false, false},
	} {
		s := newStub(t, want.answer)
		err := start(t, s.config()).Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, "sales", "call"))
		if err == nil || !strings.Contains(err.Error(), want.says) || sink.IsPermanent(err) != want.permanent || sink.IsUnavailable(err) != want.unavailable {
			t.Errorf("%s: got %v", want.says, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

func TestNobodyThereMakesDeliveriesUnavailable(t *testing.T) {
	s := newStub(t, nil)
	s.Close()
	if err := start(t, s.config()).Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, "sales", "call")); !sink.IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
}

func TestNothingOvertakesAnEventOfItsGroupThatWasRefused(t *testing.T) {
	s := newStub(t, func(w http.ResponseWriter, e []entry) { accept(w, e, "poison", "InternalError") })
	c := s.config()
	c.ForceSingleQueue = true
	var batch []*sink.Delivery
	for _, text := range []string{"a1", "b1", "a2 poison", "b2", "a3", "b3"} {
		d := sinktest.NewDelivery(sink.Global, "shop-"+text[:1], "call")
		d.Event.Data = json.RawMessage(`"` + text + `"`)
		batch = append(batch, d)
	}
	errs := start(t, c).DeliverBatch(t.Context(), batch)
	for i, ok := range []bool{true, true, false, true, false, true} {
		if (errs[i] == nil) != ok {
			t.Errorf("%s: %v", batch[i].Event.Data, errs[i])
		}
	}
	for _, request := range s.seen() {
		groups := map[string]bool{}
		for _, e := range request {
			if groups[e.Group] || strings.Contains(e.MessageBody, `"a3"`) {
				t.Errorf("a request holds what could overtake: %+v", request)
			}
			groups[e.Group] = true
		}
	}
}

func TestRequestsAreAsLargeAsSQSTakesThem(t *testing.T) {
	s := newStub(t, func(w http.ResponseWriter, e []entry) { accept(w, e, "", "") })
	c := s.config()
	c.FIFO, c.MaxPayloadSize = false, 8192
	var batch []*sink.Delivery
	for i := range 30 {
		d := sinktest.NewDelivery(sink.Instance, "sales", "call")
		if i < 4 {
			large(d, 5000)
		}
		batch = append(batch, d)
	}
	for i, err := range start(t, c).DeliverBatch(t.Context(), batch) {
		if err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	n := 0
	for _, request := range s.seen() {
		size := 0
		for _, e := range request {
			size += len(e.MessageBody)
		}
		if n += len(request); len(request) > 10 || size > c.MaxPayloadSize {
			t.Errorf("a request has %d messages and %d bytes", len(request), size)
		}
	}
	if n != 30 || len(s.seen()) > 8 {
		t.Errorf("%d messages in %d requests", n, len(s.seen()))
	}
}

func TestCloseEndsWhatDoesNotEndByItself(t *testing.T) {
	arrived, over := make(chan struct{}, 8), make(chan struct{})
	s := newStub(t, func(http.ResponseWriter, []entry) { arrived <- struct{}{}; <-over })
	defer close(over)
	it := start(t, s.config())
	result := make(chan error, 1)
	go func() {
		result <- it.Deliver(context.Background(), sinktest.NewDelivery(sink.Instance, "sales", "call"))
	}()
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := it.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := <-result; err == nil || sink.IsPermanent(err) {
		t.Errorf("the delivery under way ended with %v", err)
	}
	if err := it.Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, "sales", "call")); !sink.IsUnavailable(err) || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
}

func TestAServiceThatHangsDoesNotHoldADelivery(t *testing.T) {
	over := make(chan struct{})
	s := newStub(t, func(http.ResponseWriter, []entry) { <-over })
	defer close(over)
	c := s.config()
	c.Timeout = 100 * time.Millisecond
	if err := start(t, c).Deliver(t.Context(), sinktest.NewDelivery(sink.Instance, "sales", "call")); !sink.IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
}
