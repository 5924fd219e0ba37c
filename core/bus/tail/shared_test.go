package tail_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
)

// A broadcast begins where the log ends in storage, and not where this process has read to.
func TestABroadcastBeginsBehindWhatOtherProcessesHaveAdded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, _ := newLog(t)
		asked := 0
		log.Head = func(context.Context) (int64, error) {
			if asked++; asked == 1 {
				return 0, errors.New("storage is away")
			}
			return 2, nil
		}
		c, err := node.Batches("").Subscribe(t.Context(), bus.All)
		if err != nil {
			t.Fatal(err)
		}
		log.Append(entry(1, 0), entry(2, 0), entry(3, 0))
		if b := <-c; b.Cursors[0].Position != 3 {
			t.Errorf("the broadcast begins with %d, want 3", b.Cursors[0].Position)
		}
	})
}

func TestSubscribeThatWaitsForStorageEndsWithItsContextAndItsNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, _ := newLog(t)
		log.Head = func(context.Context) (int64, error) { return 0, errors.New("storage is away") }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		subscribe := func(ctx context.Context) {
			_, err := node.Batches("").Subscribe(ctx, bus.All)
			ended <- err
		}
		go subscribe(ctx)
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("with its context it ends with %v", err)
		}
		go subscribe(t.Context())
		synctest.Wait()
		node.Close()
		if err := <-ended; !errors.Is(err, bus.ErrClosed) {
			t.Errorf("with its node it ends with %v", err)
		}
	})
}

// A subscription reads while the process has the shard's turn, from where the group stands then, and waits for the next
// turn when one has ended.
func TestASubscriptionReadsWhileItsProcessHasTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, _ := newLog(t)
		turns, left := make(chan int64), 0 // where the group stands at each
		var end context.CancelFunc         // of the present turn
		log.Enter = func(ctx context.Context, r *tail.Reader) (context.Context, int64, func(), bool) {
			select {
			case at := <-turns:
				held, cancel := context.WithCancel(ctx)
				end = cancel
				return held, at, func() { left++; cancel() }, true
			case <-ctx.Done():
				return nil, 0, nil, false
			}
		}
		log.Append(entry(1, 0), entry(2, 0), entry(3, 0), entry(4, 0))
		ctx, cancel := context.WithCancel(t.Context())
		c, err := node.Batches("g").Subscribe(ctx, bus.Topic(0))
		if err != nil {
			t.Fatal(err)
		}
		turns <- 1
		b := <-c
		if b.Cursors[0].Position != 2 {
			t.Errorf("the first turn begins with %d, want 2", b.Cursors[0].Position)
		}
		end()
		synctest.Wait()
		b.Ack() // too late
		synctest.Wait()
		if left != 1 {
			t.Errorf("a turn that has ended was left %d times", left)
		}
		turns <- 2
		if b := <-c; b.Cursors[0].Position != 3 {
			t.Errorf("the second turn begins with %d, want 3: another process was in between", b.Cursors[0].Position)
		}
		cancel()
		for range c {
		}
		if left != 2 {
			t.Errorf("when the subscription ended the turn was left %d times", left)
		}
	})
}
