package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/evosink/evosink/core/bus"
)

var closeRules = []rule{
	{
		"a closed bus refuses everything with ErrClosed",
		"whoever still holds the bus during shutdown gets a clear answer; a second Close is no error",
		func(t *trial) {
			b := t.open("n1")
			if err := b.Check(t.ctx); err != nil {
				t.failf("Check of an open bus returned %v", err)
			}
			broadcast, group := t.broadcast(b), t.group(b, "g", 0)
			publisher, subscriber := b.Publisher(), b.Group("g")
			t.close(b)
			t.ended(broadcast)
			t.ended(group)
			if err := publisher.Publish(bus.Topic(0), messagesOf("a", 0, 1)...); !errors.Is(err, bus.ErrClosed) {
				t.failf("Publish returned %v, want ErrClosed", err)
			}
			if _, err := subscriber.Subscribe(t.ctx, bus.Topic(0)); !errors.Is(err, bus.ErrClosed) {
				t.failf("a group's Subscribe returned %v, want ErrClosed", err)
			}
			if _, err := b.Broadcast().Subscribe(t.ctx, bus.All); !errors.Is(err, bus.ErrClosed) {
				t.failf("a broadcast's Subscribe returned %v, want ErrClosed", err)
			}
			if err := b.Check(t.ctx); !errors.Is(err, bus.ErrClosed) {
				t.failf("Check returned %v, want ErrClosed", err)
			}
			t.close(b)
		},
	},
	{
		"Close ends subscriptions whose event is without an answer",
		"a handler that hangs must not make the shutdown hang",
		func(t *trial) {
			b := t.open("n1")
			broadcast, group := t.broadcast(b), t.group(b, "g", bus.Shard("a", b.Shards()))
			t.publish(b, "a", 0, 3)
			t.next(broadcast)
			t.next(group).Nack()
			t.close(b)
			t.ended(broadcast)
			t.ended(group)
		},
	},
	{
		"closing a subscriber ends its own subscriptions only",
		"watermill's router closes the subscribers of its handlers; the bus has others",
		func(t *trial) {
			b := t.open("n1")
			one, two := b.Broadcast(), b.Broadcast()
			ended, open := t.subscribe(t.ctx, one, bus.All), t.subscribe(t.ctx, two, bus.All)
			if err := one.Close(); err != nil {
				t.failf("close subscriber: %v", err)
			}
			t.ended(ended)
			t.publish(b, "a", 0, 1)
			t.take(open, "a", 0)
		},
	},
	{
		"the end of Subscribe's context closes the channel",
		"that is how the core stops one handler without touching the others",
		func(t *trial) {
			b := t.open("n1")
			ctx, cancel := context.WithCancel(t.ctx)
			broadcast := t.subscribe(ctx, b.Broadcast(), bus.All)
			group := t.subscribe(ctx, b.Group("g"), bus.Topic(0))
			waiting := t.subscribe(ctx, b.Group("g"), bus.Topic(0))
			cancel()
			t.ended(broadcast)
			t.ended(group)
			t.ended(waiting)
		},
	},
	{
		"Close during Publish loses nothing that was acknowledged",
		"a Publish that returned nil counts, whatever happened around it",
		func(t *trial) {
			t.needs("Reopens", "Backlog")
			b := t.open("n1")
			t.count(t.groups(b, "g")...)
			taken := t.pour(b, 8, func() { t.close(b) })
			y := t.count(t.groups(t.open("n1"), "fresh")...)
			t.until(y, fmt.Sprint(taken), func() bool {
				for instance, n := range taken {
					if y.next[instance] < n {
						return false
					}
				}
				return true
			})
		},
	},
}

// pour publishes to so many instances at once, calls stop in the midst of it, and goes on until Publish fails. It
// returns how many events of each instance were acknowledged.
func (t *trial) pour(b bus.Bus, instances int, stop func()) map[string]int {
	var running sync.WaitGroup
	taken := make([]int, instances)
	flowing := make(chan struct{}, 2*instances)
	for i, instance := range names(instances) {
		running.Go(func() {
			for send(b, instance, taken[i], taken[i]+1) == nil {
				if taken[i]++; taken[i] == 5 {
					flowing <- struct{}{}
				}
			}
			flowing <- struct{}{}
		})
	}
	for range instances {
		<-flowing
	}
	stop()
	running.Wait()
	out := map[string]int{}
	for i, instance := range names(instances) {
		out[instance] = taken[i]
	}
	return out
}
