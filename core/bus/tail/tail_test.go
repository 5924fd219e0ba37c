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
		c, err := node.Batches("g").Subscribe(t.Context(), bus.Topic(0))
		if err != nil {
			t.Fatal(err)
		}
		log.Append(of("a", 1), of("b", 2))
		got := received(t, c)
		m := got["1"]
		if want := (bus.Cursor{Group: "g", Shard: 0, Position: 1}); m.Cursor == nil || *m.Cursor != want {
			t.Fatalf("the batch's cursor is %+v, want %+v", m.Cursor, want)
		}
		log.Move(*m.Cursor) // as a queue does that has stored it with the deliveries
		m.Ack()
		synctest.Wait()
		if *moved != 0 {
			t.Fatalf("the ack has moved the cursor %d times", *moved)
		}
		got["2"].Ack()
		synctest.Wait()
		if *moved != 1 {
			t.Fatalf("the second ack has moved the cursor %d times, want once", *moved)
		}
		node.Close()
	})
}

// of is an entry of an instance.
func of(instance string, position int64) tail.Entry {
	e := &event.Event{ID: fmt.Sprint(position), Name: "call", Instance: instance, Time: time.Now()}
	return tail.Entry{Position: position, Message: bus.Message(e)}
}

// received is what a subscription of messages or batches has handed over, by the id of the first message.
func received[T any](t *testing.T, c <-chan T) map[string]T {
	t.Helper()
	got := map[string]T{}
	for {
		synctest.Wait()
		select {
		case some := <-c:
			switch some := any(some).(type) {
			case *message.Message:
				got[some.UUID] = any(some).(T)
			case *bus.Batch:
				got[some.Messages[0].UUID] = any(some).(T)
			}
		default:
			return got
		}
	}
}

func wantIDs[T any](t *testing.T, what string, got map[string]T, ids ...string) {
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

func TestABatchBringsTheNextOfItsInstanceAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, _ := newLog(t)
		log.Append(of("a", 1), of("a", 2), of("b", 3), of("a", 4), of("b", 5))
		c, _ := node.Batches("g").Subscribe(t.Context(), bus.Topic(0))
		reader := log.Groups()[0]
		followers := func(b *bus.Batch) (ids []string) {
			for _, f := range b.Messages[1:] {
				ids = append(ids, f.UUID)
			}
			return ids
		}
		got := received(t, c)
		wantIDs(t, "at first", got, "1", "3")
		if a, b := followers(got["1"]), followers(got["3"]); !slices.Equal(a, []string{"2", "4"}) || !slices.Equal(b, []string{"5"}) {
			t.Fatalf("they bring %v and %v along", a, b)
		}
		if c := got["1"].Cursor; c == nil || c.Position != 2 {
			t.Fatalf("the cursor of the first is %+v: it must not pass 3, which is another batch", c)
		}
		if got["3"].Cursor != nil {
			t.Fatal("a batch behind one that is not acked has a cursor")
		}
		got["3"].Ack()
		got["1"].Nack()
		time.Sleep(time.Second)
		got = received(t, c)
		wantIDs(t, "after a nack", got, "1")
		if ids := followers(got["1"]); !slices.Equal(ids, []string{"2", "4"}) {
			t.Fatalf("the nacked batch comes again with %v", ids)
		}
		got["1"].Ack()
		synctest.Wait()
		if reader.Position() != 5 {
			t.Fatalf("the reader is at %d, want 5", reader.Position())
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
		kept   int64 // the oldest that storage has not removed
		after  []string
		missed int64
	}{
		{"storage has removed some", 8, []string{"8", "9", "10"}, 5},
		{"storage has removed all that the tail does not hold", 11, []string{"10"}, 7},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { tellsOfMissed(t, test.kept, test.after, test.missed) })
		})
	}
}

func tellsOfMissed(t *testing.T, kept int64, after []string, want int64) {
	log, node, _ := newLog(t)
	var missed int64
	log.Missed = func(n int64) { missed += n }
	log.Read = func(_ context.Context, _ int, after int64) ([]tail.Entry, error) {
		if kept > 10 {
			return nil, nil
		}
		return []tail.Entry{of("a", max(after+1, kept))}, nil
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

func TestReachedWaitsForTheAcksOfEverythingUpToAPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, node, _ := newLog(t)
		log.Append(of("a", 1), of("b", 2), of("c", 3))
		at := bus.Cursor{Group: "g", Position: 2}
		reached := make(chan error, 1)
		go func() { reached <- node.Reached(t.Context(), at) }()
		c, _ := node.Batches("g").Subscribe(t.Context(), bus.Topic(0))
		got := received(t, c)
		log.Move(at) // the queue has them, and its callers do not know that yet
		got["2"].Ack()
		synctest.Wait()
		select {
		case err := <-reached:
			t.Fatalf("Reached returned %v while the first is without an answer", err)
		default:
		}
		got["1"].Ack()
		if err := <-reached; err != nil {
			t.Fatal(err)
		}
		if len(log.Groups()) != 1 {
			t.Errorf("Reached has made a group: %d", len(log.Groups()))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := node.Reached(ctx, bus.Cursor{Group: "g", Position: 3}); !errors.Is(err, context.Canceled) {
			t.Errorf("Reached returned %v though 3 is not acked", err)
		}
		node.Close()
	})
}
