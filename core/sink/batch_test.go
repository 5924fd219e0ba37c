package sink_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

func TestABatchSendsNothingBehindWhatCannotBeSent(t *testing.T) {
	var deliveries []*sink.Delivery
	for _, instance := range []string{"a", "bad", "a", "bad", "b"} {
		deliveries = append(deliveries, &sink.Delivery{Target: "instance", Event: &event.Event{ID: fmt.Sprint(len(deliveries)), Instance: instance}})
	}
	deliveries = append(deliveries, &sink.Delivery{Target: "global", Event: &event.Event{ID: "5", Instance: "bad"}})
	wrong, refused := errors.New("wrong"), errors.New("refused")
	b := sink.Prepare(deliveries, func(d *sink.Delivery) (string, error) {
		if d.Event.Instance == "bad" && d.Target == "instance" {
			return "", wrong
		}
		return d.Event.ID, nil
	})
	if got := fmt.Sprint(b.Messages); got != "[0 2 4 5]" {
		t.Errorf("messages %s", got)
	}
	errs := b.Answer([]error{nil, refused, nil, nil})
	if len(errs) != 6 || errs[0] != nil || errs[1] != wrong || errs[2] != refused || errs[3] == nil || errs[3] == wrong || errs[4] != nil || errs[5] != nil {
		t.Errorf("answers %v", errs)
	}
}

func TestFailAllAnswersEach(t *testing.T) {
	wrong := errors.New("wrong")
	if errs := sink.FailAll(make([]*sink.Delivery, 2), wrong); len(errs) != 2 || errs[0] != wrong || errs[1] != wrong {
		t.Errorf("answers %v", errs)
	}
}
