package rabbitmq_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
)

func TestABrokerThatIsAwayIsUnavailableAtOnceAndFoundWhenItComes(t *testing.T) {
	b := newBroker(t)
	b.owns(b.name, b.name+".call")
	p, uri := b.proxied()
	p.Down()
	c := b.config()
	c.URI = uri
	s := start(t, c)
	sinktest.Eventually(t, "the sink knows that the broker is away", func() bool {
		err := s.Check(t.Context())
		return err != nil && strings.Contains(err.Error(), "refused")
	})
	began := time.Now()
	if err := s.Deliver(t.Context(), sinktest.NewDelivery(sink.Global, "sales", "call")); !sink.IsUnavailable(err) {
		t.Errorf("Deliver: %v", err)
	}
	if waited := time.Since(began); waited > 2*time.Second {
		t.Errorf("a worker was held for %v", waited)
	}
	if since, last := s.Connection(); !since.IsZero() || last == nil {
		t.Errorf("connected since %v, last error %v", since, last)
	}
	p.Up()
	sinktest.Eventually(t, "the sink is healthy", func() bool { return s.Check(t.Context()) == nil })
	sinktest.Deliver(t, s, sinktest.NewDelivery(sink.Global, "sales", "call"))
	if since, last := s.Connection(); since.IsZero() || last == nil {
		t.Errorf("connected since %v, last error %v", since, last)
	}
}

func TestNothingIsLostOrOvertakenWhenTheBrokerStops(t *testing.T) {
	b := newBroker(t)
	p, uri := b.proxied()
	c := b.config()
	c.URI = uri
	const lanes = 10
	instance := func(lane int) string { return fmt.Sprintf("%s-%d", b.name, lane) }
	id := func(lane, n int) string { return fmt.Sprintf("%d/%06d", lane, n) }
	for i := range lanes {
		b.owns(instance(i), instance(i)+".call")
	}
	each := sinktest.Outage{
		Sink: start(t, c), Down: p.Down, Up: p.Up, Lanes: lanes, Away: 2 * time.Second,
		Delivery: func(lane, n int) *sink.Delivery {
			d := sinktest.NewDelivery(sink.Instance, instance(lane), "call")
			d.Event.ID = id(lane, n)
			return d
		},
	}.Run(t)
	doubles := 0
	for i := range lanes {
		got := b.consume(instance(i) + ".call")
		doubles += sinktest.InOrder(t, each, func(n int) string { return id(i, n) }, func() string { return next(t, got).MessageId })
	}
	t.Logf("%d events: none lost, none overtaken, %d delivered twice", lanes*each, doubles)
}
