package kafka_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
)

func TestNothingIsLostOrOvertakenWhenTheBrokerStops(t *testing.T) {
	c, gate := gatedCluster(t)
	const lanes = 10
	id := func(lane, n int) string { return fmt.Sprintf("%d/%06d", lane, n) }
	each := sinktest.Outage{
		Sink: start(t, config(c)), Down: func() { gate.set(true) }, Up: func() { gate.set(false) }, Lanes: lanes, Away: 2 * time.Second,
		Delivery: func(lane, n int) *sink.Delivery {
			d := delivery(sink.Instance, fmt.Sprintf("shop-%d", lane), "call")
			d.Event.ID = id(lane, n)
			return d
		},
	}.Run(t)
	doubles := 0
	for lane := range lanes {
		got, i := consume(t, c, fmt.Sprintf("evolution.shop-%d.call", lane)), 0
		doubles += sinktest.InOrder(t, each, func(n int) string { return id(lane, n) }, func() string {
			i++
			return header(got.wait(t, i)[i-1], "id")
		})
	}
	t.Logf("%d events: none lost, none overtaken, %d delivered twice", lanes*each, doubles)
}
