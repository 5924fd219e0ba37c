package sqs_test

import (
	"testing"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/e2e/hubtest"
	"github.com/evosink/evosink/sinks/sqs"
)

func TestAFIFOQueueKeepsEventsWithTheSameIDOfTwoTenants(t *testing.T) {
	a := newAccount(t)
	h := hubtest.Run(t, sink.Use(sqs.Spec, func(c *sqs.Config) {
		*c = a.config()
		c.GlobalEnabled, c.Events = true, sink.Switches{"CALL": true}
	}))
	h.Create("one", "sqs")
	h.Create("two", "sqs")
	h.Emit("one", "call", "3EB0A1")
	h.Emit("two", "call", "3EB0A1")
	h.Delivered(2)
	got := map[string]bool{}
	for _, m := range a.take(a.name+"_call.fifo", 2) {
		got[attribute(m, "instance")] = true
	}
	if !got["one"] || !got["two"] {
		t.Errorf("events of %v arrived: one is taken for another", got)
	}
}
