package main

import (
	"context"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	"github.com/evosink/evosink/sinks/websocket/peers/internal/control"
	"github.com/evosink/evosink/sinks/websocket/peers/internal/crowd"
)

// A scenario is one thing that is measured, rounds times, each time with a
// fresh server.
type scenario struct {
	name   string
	rounds int
	run    func(context.Context, *trial) error
}

// A plan is scenarios in their order.
type plan []scenario

// full takes its time; brief shows where things stand.
var (
	full = plan{
		{"broadcast", 7, broadcast(40, 20, 3)},
		{"namespaces", 2, namespaces(2000)},
		{"idle", 2, idle},
		{"slow", 2, slow(6*time.Second, 18*time.Second)},
	}
	brief = plan{
		{"broadcast", 1, broadcast(20, 10, 2)},
		{"namespaces", 1, namespaces(1000)},
		{"idle", 1, idle},
		{"slow", 1, slow(3*time.Second, 6*time.Second)},
	}
)

// A trial is one server under one scenario.
type trial struct {
	*server
	values
}

// only is the scenarios named in the comma-separated list, or all.
func (p plan) only(list string) (plan, error) {
	if list == "" {
		return p, nil
	}
	var some plan
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(p, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no scenario %q", name)
		}
		some = append(some, p[i])
	}
	return some, nil
}

// measure runs the scenario once with p. What it measured before an error
// counts.
func (s scenario) measure(ctx context.Context, p peer, c cores) (values, error) {
	t := &trial{values: make(values)}
	var err error
	if t.server, err = start(ctx, p, c); err != nil {
		return t.values, err
	}
	defer t.server.stop()
	err = s.run(ctx, t)
	return t.values, err
}

// record adds a value to the results and tells it.
func (t *trial) record(f figure, value float64) {
	log.Printf("%-36s %-26s %10.2f", t.peer.name, f, value)
	t.add(f, value)
}

// crowd connects n clients, client i in space(i).
func (t *trial) crowd(ctx context.Context, n int, space func(i int) string) (*crowd.Crowd, error) {
	c, err := crowd.Open(t.address, t.peer.dialect, n, space)
	if err != nil {
		return nil, err
	}
	if err := t.joined(ctx, n); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// everywhere is the space of clients that are all in one.
func everywhere(int) string { return "/" }

const (
	listeners = 1000    // clients of a broadcast
	small     = 1 << 10 // bytes of an event
	large     = 16 << 10
)

// broadcast sends to 1,000 clients: 10 small events per second, 5 large ones,
// and 50 small ones at once, every one and a half seconds.
func broadcast(steadily, largely, bursts int) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		c, err := t.crowd(ctx, listeners, everywhere)
		if err != nil {
			return err
		}
		defer c.Close()
		orders := []struct {
			figure figure
			order  control.Order
		}{
			{steadyCPU, control.Order{Events: steadily, Size: small, Burst: 1, Every: 100 * time.Millisecond}},
			{largeCPU, control.Order{Events: largely, Size: large, Burst: 1, Every: 200 * time.Millisecond}},
			{burstCPU, control.Order{Events: bursts * 50, Size: small, Burst: 50, Every: 1500 * time.Millisecond}},
		}
		for _, o := range orders {
			if err := t.deliver(ctx, c, listeners, o.order, o.figure); err != nil {
				return err
			}
			if o.figure == steadyCPU {
				t.record(steadyP99, milliseconds(c.Delays.Quantile(0.99)))
			}
		}
		return nil
	}
}

// namespaces sends to one after the other of 1,000 namespaces with 5 clients
// each, an event every two milliseconds.
func namespaces(events int) func(context.Context, *trial) error {
	const spaces, each = 1000, 5
	return func(ctx context.Context, t *trial) error {
		c, err := t.crowd(ctx, spaces*each, func(i int) string { return control.Space(i, spaces) })
		if err != nil {
			return err
		}
		defer c.Close()
		o := control.Order{Events: events, Size: small, Burst: 1, Spaces: spaces, Every: 2 * time.Millisecond}
		return t.deliver(ctx, c, each, o, spacesCPU)
	}
}

// deliver emits what o says to as many clients per event as audience, after a
// few events to warm up, and records what a delivery costs as f.
func (t *trial) deliver(ctx context.Context, c *crowd.Crowd, audience int, o control.Order, f figure) error {
	warm := o
	warm.Events = 2 * o.Burst
	if _, err := t.emit(ctx, c, audience, warm); err != nil {
		return err
	}
	before, err := t.stats(ctx, false)
	if err != nil {
		return err
	}
	got, err := t.emit(ctx, c, audience, o)
	if err != nil {
		return err
	}
	after, err := t.stats(ctx, false)
	if err != nil {
		return err
	}
	if got != o.Events*audience {
		return fmt.Errorf("%s: %d of %d events came", f, got, o.Events*audience)
	}
	t.record(f, float64((after.CPU-before.CPU).Nanoseconds())/1000/float64(got))
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
