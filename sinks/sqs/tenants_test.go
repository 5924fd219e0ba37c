package sqs_test

import (
	"fmt"
	"path"
	"slices"
	"testing"

	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
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

func TestNoTenantReachesAnothersQueueByAName(t *testing.T) {
	for _, own := range []bool{false, true} {
		a := newAccount(t)
		h := hubtest.Run(t, sink.Use(sqs.Spec, func(c *sqs.Config) {
			*c = a.config()
			if own {
				c.CustomQueues = []string{"eu.call"}
			}
		}))
		h.Create(a.name, "pusher")
		h.Create(a.name+"_eu", "pusher")
		for _, name := range []string{a.name, a.name + "_eu"} {
			settings := []byte(`{"enabled":true,"events":["CALL","eu.call"]}`)
			if _, err := h.Registry.Set(t.Context(), name, "sqs", settings); err != nil {
				t.Fatal(err)
			}
		}
		h.Emit(a.name, "eu.call", "")
		h.Emit(a.name+"_eu", "call", "")
		h.Delivered(2)
		if m := a.take(a.name+"_eu_call.fifo", 1)[0]; attribute(m, "instance") != a.name+"_eu" {
			t.Errorf("an event of %s is in the queue of %s_eu", attribute(m, "instance"), a.name)
		}
		custom := map[bool]string{false: "_custom.fifo", true: "_custom_eu_x2Ecall.fifo"}[own]
		if m := a.take(a.name+custom, 1)[0]; attribute(m, "event") != "eu.call" {
			t.Errorf("%s is in %s", attribute(m, "event"), custom)
		}
	}
}

// Three sinks are three nodes, or three lives of one: what one has made, the others do not know.
func TestNodesAndRestartsMakeNoMoreQueuesForAnInstance(t *testing.T) {
	a := newAccount(t)
	c := a.config()
	c.CustomQueues = []string{"own-0-0", "own-1-1"}
	for node := range 3 {
		s := start(t, c)
		for i := range 4 {
			sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Instance, a.name, fmt.Sprintf("own-%d-%d", node, i)))
		}
	}
	out, err := a.sqs.ListQueues(t.Context(), &awssqs.ListQueuesInput{QueueNamePrefix: &a.name})
	if err != nil {
		t.Fatal(err)
	}
	var made []string
	for _, url := range out.QueueUrls {
		made = append(made, path.Base(url))
		t.Cleanup(func() { a.delete(url) })
	}
	slices.Sort(made)
	custom := a.name + "_custom"
	want := []string{custom + ".fifo", custom + "_own-0-0.fifo", custom + "_own-1-1.fifo"}
	if !slices.Equal(made, want) {
		t.Errorf("queues %v\nwant %v", made, want)
	}
	a.take(want[0], 10)
}
