package tail_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/bus/tail"
	"github.com/evosink/evosink/core/event"
)

func entry(position int64, shard int) tail.Entry {
	return tail.Entry{Position: position, Shard: shard, Message: message.NewMessage(fmt.Sprint(position), []byte("0123456789"))}
}

// want checks what a tail gives after a position.
func want(t *testing.T, l *tail.Tail, shard int, after int64, floor int64, positions ...int64) {
	t.Helper()
	entries, _, f := l.After(shard, after)
	var got []int64
	for _, e := range entries {
		got = append(got, e.Position)
	}
	if fmt.Sprint(got) != fmt.Sprint(positions) || f != floor {
		t.Fatalf("after %d in shard %d: %v with floor %d, want %v with floor %d", after, shard, got, f, positions, floor)
	}
}

func TestATailGivesTheEntriesOfAShardOrOfAll(t *testing.T) {
	l := tail.New(2, 10) // of a log that had ten entries before
	l.Append(entry(11, 0), entry(12, 1), entry(13, 0))
	want(t, l, tail.All, 10, 10, 11, 12, 13)
	want(t, l, tail.All, 12, 10, 13)
	want(t, l, 0, 10, 10, 11, 13)
	want(t, l, 1, 10, 10, 12)
	want(t, l, 1, 12, 10)
	if l.Newest() != 13 || l.Shards() != 2 {
		t.Fatalf("newest %d, shards %d", l.Newest(), l.Shards())
	}
}

func TestTheFloorTellsWhatATailHoldsNoMore(t *testing.T) {
	l := tail.New(2, 0)
	l.Append(entry(1, 0), entry(2, 1), entry(3, 0), entry(4, 1))
	if !l.Trim(2, 1000, nil) {
		t.Fatal("the limits are not kept")
	}
	want(t, l, tail.All, 0, 2, 3, 4)
	want(t, l, 0, 1, 1, 3) // shard 0 has lost 1, so a reader that stands there has everything
	want(t, l, 1, 0, 2, 4) // shard 1 has lost 2, so a reader that stands before it must look elsewhere
	if !l.Trim(2, 11, nil) {
		t.Fatal("the limits are not kept")
	}
	want(t, l, tail.All, 3, 3, 4)
	if l.Trim(-1, 1000, nil) {
		t.Fatal("there is no room for more entries than the limit")
	}
	want(t, l, tail.All, 4, 4)
}

func TestTrimStopsAtWhatAReaderNeeds(t *testing.T) {
	l := tail.New(2, 0)
	l.Append(entry(1, 0), entry(2, 1), entry(3, 0))
	readers := tail.NewReaders(bus.Cursor{Group: "g", Shard: 1, Position: 0}, bus.Cursor{Group: "h", Shard: 0, Position: 1})
	if l.Trim(1, 1000, readers.Need) {
		t.Fatal("the limits are kept though a group needs more")
	}
	want(t, l, tail.All, 1, 1, 2, 3)
	readers.Move(bus.Cursor{Group: "g", Shard: 1, Position: 2})
	readers.Move(bus.Cursor{Group: "g", Shard: 1, Position: 1}) // a cursor never goes back
	if !l.Trim(1, 1000, readers.Need) {
		t.Fatal("the limits are not kept though nobody needs more")
	}
	if l.Trim(0, 1000, readers.Need) {
		t.Fatal("what the other group needs was dropped")
	}
}

// newLog returns a log of one shard, a node on it, and what counts the cursors that were moved by acks.
func newLog(t *testing.T) (log *tail.Log, node *tail.Node, moved *int) {
	moved = new(int)
	log = &tail.Log{Tail: tail.New(1, 0), Readers: tail.NewReaders()}
	log.Moved = func(*tail.Reader) { *moved++ }
	node = tail.NewNode(log)
	t.Cleanup(node.Close)
	return log, node, moved
}

func TestAnAckOfACursorThatWasMovedAlreadyMovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, moved := newLog(t)
		c, _ := node.Batches("g").Subscribe(t.Context(), bus.Topic(0))
		log.Append(of("a", 1), of("b", 2))
		b := nextBatch(t, c, "1", "2")
		log.Move(b.Cursors[1]) // as a queue does that has stored it with the deliveries
		b.Ack()
		synctest.Wait()
		if *moved != 0 {
			t.Fatalf("the ack has moved the cursor %d times", *moved)
		}
		log.Append(of("b", 3))
		nextBatch(t, c, "3").Ack()
		synctest.Wait()
		if *moved != 1 {
			t.Fatalf("the second ack has moved the cursor %d times, want once", *moved)
		}
		node.Close()
	})
}

// nextBatch returns what a subscription hands over now, which must have messages of these ids.
func nextBatch(t *testing.T, c <-chan *bus.Batch, ids ...string) *bus.Batch {
	t.Helper()
	synctest.Wait()
	select {
	case b := <-c:
		var got []string
		for _, m := range b.Messages {
			got = append(got, m.UUID)
		}
		if !slices.Equal(got, ids) {
			t.Fatalf("got a batch of %v, want %v", got, ids)
		}
		return b
	default:
		t.Fatalf("no batch came, want one of %v", ids)
	}
	return nil
}

// noBatch checks that a subscription hands nothing over now.
func noBatch(t *testing.T, c <-chan *bus.Batch) {
	t.Helper()
	synctest.Wait()
	select {
	case b := <-c:
		t.Fatalf("a batch came that begins with %s", b.Messages[0].UUID)
	default:
	}
}

// of is an entry of an instance.
func of(instance string, position int64) tail.Entry {
	e := &event.Event{ID: fmt.Sprint(position), Name: "call", Instance: instance, Time: time.Now()}
	return tail.Entry{Position: position, Message: bus.Message(e)}
}

// received is what a subscription has handed over, by id.
func received(t *testing.T, c <-chan *message.Message) map[string]*message.Message {
	t.Helper()
	got := map[string]*message.Message{}
	for {
		synctest.Wait()
		select {
		case m := <-c:
			got[m.UUID] = m
		default:
			return got
		}
	}
}

func wantIDs(t *testing.T, what string, got map[string]*message.Message, ids ...string) {
	t.Helper()
	if have := slices.Sorted(maps.Keys(got)); !slices.Equal(have, ids) {
		t.Fatalf("%s: got %v, want %v", what, have, ids)
	}
}

func TestInstancesOfAGroupDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, _ := newLog(t)
		s := node.Group("g")
		c, _ := s.Subscribe(t.Context(), bus.Topic(0))
		reader := log.Groups()[0]
		log.Append(of("a", 1), of("b", 2), of("a", 3), of("c", 4))
		got := received(t, c)
		wantIDs(t, "at first", got, "1", "2", "4")
		got["4"].Ack()
		got["2"].Nack()
		wantIDs(t, "after an ack and a nack", received(t, c))
		time.Sleep(time.Second)
		again := received(t, c)
		wantIDs(t, "after a pause", again, "2")
		again["2"].Ack()
		synctest.Wait()
		if reader.Position() != 0 {
			t.Fatalf("the reader has passed what is not acked: it is at %d", reader.Position())
		}
		got["1"].Ack()
		got = received(t, c)
		wantIDs(t, "after the first is acked", got, "3")
		if reader.Position() != 2 {
			t.Fatalf("the reader is at %d, want 2", reader.Position())
		}
		s.Close()
		c, _ = node.Group("g").Subscribe(t.Context(), bus.Topic(0))
		got = received(t, c)
		wantIDs(t, "after another start", got, "3", "4")
		got["3"].Ack()
		got["4"].Ack()
		synctest.Wait()
		if reader.Position() != 4 {
			t.Fatalf("the reader is at %d, want 4", reader.Position())
		}
		node.Close()
	})
}

func TestABatchIsWhatFollowsInTheShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, _ := newLog(t)
		log.Append(of("a", 1), of("b", 2), of("a", 4)) // positions have gaps
		c, _ := node.Batches("g").Subscribe(t.Context(), bus.Topic(0))
		b := nextBatch(t, c, "1", "2", "4")
		want := []bus.Cursor{{Group: "g", Position: 1}, {Group: "g", Position: 2}, {Group: "g", Position: 4}}
		if !slices.Equal(b.Cursors, want) {
			t.Fatalf("the cursors are %+v, want %+v", b.Cursors, want)
		}
		log.Append(of("c", 5))
		noBatch(t, c) // before the answer
		b.Nack()
		noBatch(t, c) // before the pause is over
		time.Sleep(time.Second)
		again := nextBatch(t, c, "1", "2", "4")
		b.Ack() // the former one is answered already
		noBatch(t, c)
		again.Ack()
		nextBatch(t, c, "5").Ack()
		synctest.Wait()
		if at := log.Groups()[0].Position(); at != 5 {
			t.Fatalf("the reader is at %d, want 5", at)
		}
		node.Close()
	})
}

func TestBatchesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, _ := newLog(t)
		for i := range int64(1000) {
			log.Append(of("a", i+1))
		}
		for i, size := range []int{600 << 10, 300 << 10, 200 << 10, 2 << 20, 1} {
			e := of("a", int64(i)+1001)
			e.Message.Payload = make([]byte, size)
			log.Append(e)
		}
		c, _ := node.Batches("g").Subscribe(t.Context(), bus.Topic(0))
		var lengths []int
		for n := 0; n < 1005; n += lengths[len(lengths)-1] {
			synctest.Wait()
			b := <-c
			lengths = append(lengths, len(b.Messages))
			b.Ack()
		}
		if want := []int{256, 256, 256, 234, 1, 1, 1}; !slices.Equal(lengths, want) {
			t.Errorf("the batches have %d messages, want %d", lengths, want)
		}
		node.Close()
	})
}

func TestAKeptBatchLeavesTheCursorToMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, moved := newLog(t)
		s := node.Batches("g")
		c, _ := s.Subscribe(t.Context(), bus.Topic(0))
		reader := log.Groups()[0]
		log.Append(of("a", 1), of("b", 2))
		nacked := nextBatch(t, c, "1", "2")
		nacked.Keep()
		nacked.Nack() // a nack keeps nothing
		time.Sleep(time.Second)
		kept := nextBatch(t, c, "1", "2")
		if kept.Kept() {
			t.Fatal("the batch that comes again is kept already")
		}
		kept.Keep()
		kept.Ack()
		log.Append(of("a", 3))
		next := nextBatch(t, c, "3")
		if reader.Position() != 0 || log.Trim(0, 0, log.Need) {
			t.Fatalf("the reader is at %d; it must keep what is behind its cursor", reader.Position())
		}
		log.Move(kept.Cursors[0])
		next.Keep()
		next.Ack()
		noBatch(t, c)
		s.Close()
		c, _ = node.Batches("g").Subscribe(t.Context(), bus.Topic(0))
		next = nextBatch(t, c, "2", "3")
		if *moved != 0 {
			t.Fatalf("acks of kept batches have moved the cursor %d times", *moved)
		}
		next.Keep()
		next.Ack()
		log.Append(of("a", 4))
		nextBatch(t, c, "4").Ack() // without Keep
		synctest.Wait()
		if reader.Position() != 4 || *moved != 1 {
			t.Fatalf("after an ack the reader is at %d, moved %d times; want 4, once", reader.Position(), *moved)
		}
		node.Close()
	})
}

func TestABroadcastKeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, moved := newLog(t)
		c, _ := node.Batches("").Subscribe(t.Context(), bus.All)
		log.Append(of("a", 1))
		b := nextBatch(t, c, "1")
		b.Keep()
		b.Ack()
		synctest.Wait()
		if *moved != 1 || !log.Trim(0, 0, log.Need) {
			t.Fatalf("the reader has moved %d times and still needs what it was given", *moved)
		}
		node.Close()
	})
}

func TestAWindowIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, _ := newLog(t)
		for i := range int64(1000) {
			log.Append(of(fmt.Sprint("instance-", i), i+1))
		}
		c, _ := node.Group("g").Subscribe(t.Context(), bus.Topic(0))
		for acked := 0; acked < 1000; {
			got := received(t, c)
			if len(got) == 0 || len(got) > 64 {
				t.Fatalf("%d messages are under way after %d acks", len(got), acked)
			}
			for _, m := range got {
				m.Ack()
			}
			acked += len(got)
		}
		node.Close()
	})
}

func TestAGroupsReaderIsForgottenOnlyWhileNobodyHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, _ := newLog(t)
		s := node.Group("g")
		if _, err := s.Subscribe(t.Context(), bus.Topic(0)); err != nil {
			t.Fatal(err)
		}
		reader := log.Groups()[0]
		if !reader.Open() || log.Forget(reader) {
			t.Fatal("a reader with a subscription was forgotten")
		}
		s.Close()
		if reader.Open() || !log.Forget(reader) || len(log.Groups()) != 0 {
			t.Fatal("a reader without a subscription was not forgotten")
		}
	})
}

func TestWhatABroadcastHasMissedIsTold(t *testing.T) {
	tests := []struct {
		name   string
		kept   []int64 // what storage has not removed
		after  []string
		missed int64
	}{
		{"storage has removed some", []int64{8, 9, 10}, []string{"8", "9", "10"}, 5},
		{"storage has removed some in the middle", []int64{3, 4, 7, 9, 10}, []string{"3", "4", "7", "9", "10"}, 3},
		{"storage has removed all that the tail does not hold", nil, []string{"10"}, 7},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tellsOfMissed(t, test.kept, test.after, test.missed) })
		})
	}
}

func tellsOfMissed(t *testing.T, kept []int64, after []string, want int64) {
	log, node, _ := newLog(t)
	var missed int64
	log.Missed = func(n int64) { missed += n }
	log.Read = func(_ context.Context, _ int, after int64) ([]tail.Entry, error) {
		var entries []tail.Entry
		for _, position := range kept {
			if position > after {
				entries = append(entries, of("a", position))
			}
		}
		return entries, nil
	}
	c, _ := node.Broadcast().Subscribe(t.Context(), bus.All)
	log.Append(of("a", 1), of("a", 2))
	first := <-c
	for position := range int64(8) {
		log.Append(of("a", position+3))
	}
	log.Trim(1, 1000, nil) // the tail holds 10 only
	first.Ack()
	(<-c).Ack() // 2, which was read together with the first
	for _, want := range after {
		m := <-c
		if m.UUID != want {
			t.Fatalf("got %s, want %s", m.UUID, want)
		}
		m.Ack()
	}
	if missed != want {
		t.Errorf("it was told of %d missed events, want %d", missed, want)
	}
	node.Close()
}

// reached calls Reached in the background, and returns a function that checks whether it has returned by now.
func reached(t *testing.T, node *tail.Node, position bus.Position) (check func(when string, want bool)) {
	result := make(chan error, 1)
	go func() { result <- node.Reached(t.Context(), bus.Cursor{Group: "g", Position: position}) }()
	return func(when string, want bool) {
		t.Helper()
		synctest.Wait()
		select {
		case err := <-result:
			if err != nil || !want {
				t.Fatalf("%s: Reached(%d) has returned %v", when, position, err)
			}
		default:
			if want {
				t.Fatalf("%s: Reached(%d) has not returned", when, position)
			}
		}
	}
}

func TestReachedWaitsUntilTheGroupHasTakenEverythingUpToAPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, _ := newLog(t)
		log.Append(of("a", 1), of("b", 2))
		two, three := reached(t, node, 2), reached(t, node, 3)
		two("before there is the group", false)
		if len(log.Groups()) != 0 {
			t.Errorf("Reached has made a group: %d", len(log.Groups()))
		}
		c, _ := node.Batches("g").Subscribe(t.Context(), bus.Topic(0))
		b := nextBatch(t, c, "1", "2")
		log.Move(b.Cursors[1]) // the queue has stored them, and its callers do not know that yet
		two("before the answer", false)
		b.Ack()
		two("after the ack", true)
		three("before there is a third", false)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := node.Reached(ctx, bus.Cursor{Group: "g", Position: 3}); !errors.Is(err, context.Canceled) {
			t.Errorf("Reached returned %v though 3 is not acked", err)
		}
		log.Append(of("a", 3))
		b = nextBatch(t, c, "3")
		b.Keep()
		b.Ack()
		three("after the ack of a kept batch", true)
		node.Close()
	})
}

func TestWhatWasKeptIsNotTakenAnyMoreWhenItsSubscriptionHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, _ := newLog(t)
		log.Append(of("a", 1), of("b", 2), of("c", 3))
		s := node.Batches("g")
		c, _ := s.Subscribe(t.Context(), bus.Topic(0))
		b := nextBatch(t, c, "1", "2", "3")
		log.Move(b.Cursors[0])
		b.Keep()
		b.Ack()
		reached(t, node, 3)("after the ack", true)
		s.Close()
		reached(t, node, 1)("of what the cursor has passed", true)
		two, three := reached(t, node, 2), reached(t, node, 3)
		two("after the end of the subscription", false)
		log.Move(b.Cursors[1]) // by a write that was under way
		two("when the cursor has passed it", true)
		three("when the cursor has not", false)
		c, _ = node.Batches("g").Subscribe(t.Context(), bus.Topic(0))
		b = nextBatch(t, c, "3")
		three("while another subscription is at it", false)
		b.Keep()
		b.Ack()
		three("when the other one has acked it", true)
		node.Close()
	})
}

func TestAGroupHasTakenWhatIsBeforeItsStoredCursor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stored := tail.NewReaders(bus.Cursor{Group: "g", Position: 2})
		node := tail.NewNode(&tail.Log{Tail: tail.New(1, 3), Readers: stored})
		reached(t, node, 2)("before the first subscription", true)
		three := reached(t, node, 3)
		three("before the first subscription", false)
		stored.Move(bus.Cursor{Group: "g", Position: 3})
		three("when the cursor was moved", true)
		node.Close()
	})
}
