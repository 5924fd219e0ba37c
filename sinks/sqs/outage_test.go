package sqs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
)

func TestNothingIsLostOrOvertakenWhenSQSIsAway(t *testing.T) {
	a := newAccount(t)
	p := sinktest.NewProxy(t, strings.TrimPrefix(a.url, "http://"))
	c := a.config()
	c.Endpoint = "http://" + p.Address
	const lanes = 10
	id := func(lane, n int) string { return fmt.Sprintf("%s/%d/%06d", a.name, lane, n) }
	each := sinktest.Outage{
		Sink: start(t, c), Down: p.Down, Up: p.Up, Lanes: lanes, Away: 2 * time.Second,
		Delivery: func(lane, n int) *sink.Delivery {
			d := sinktest.NewDelivery(sink.Instance, fmt.Sprintf("%s-%d", a.name, lane), "call")
			d.Event.ID = id(lane, n)
			return d
		},
	}.Run(t)
	for lane := range lanes {
		var ids []string
		for _, m := range a.take(fmt.Sprintf("%s-%d_call.fifo", a.name, lane), each) {
			ids = append(ids, attribute(m, "id"))
		}
		doubles := sinktest.InOrder(t, each, func(n int) string { return id(lane, n) }, func() string {
			first := ids[0]
			ids = ids[1:]
			return first
		})
		if doubles > 0 {
			t.Errorf("%d events are there twice", doubles)
		}
	}
}
