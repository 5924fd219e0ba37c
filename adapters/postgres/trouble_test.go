package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/evosink/evosink/adapters/postgres"
	"github.com/evosink/evosink/core/bus"
)

// through opens a node behind a proxy.
func through(t *testing.T, c postgres.Config) (*postgres.DB, *proxy) {
	t.Helper()
	p := newProxy(t, c.URL)
	c.URL = p.url
	return open(t, c), p
}

// The server has committed, and its answer is lost: the event is there once, and Append says where.
func TestACommitWhoseAnswerIsLostIsNotMadeAgain(t *testing.T) {
	c := newConfig(t)
	db, way := through(t, c)
	emit(t, db, "a", 0)
	type answer struct {
		at  bus.Position
		err error
	}
	for n := 1; n <= 3; n++ {
		way.swallow(newEvent("a", n).ID) // which is in the statement that appends it
		answers := make(chan answer, 1)
		go func() {
			at, err := appendEvent(context.Background(), db, newEvent("a", n))
			answers <- answer{at, err}
		}()
		waitFor(t, "the server has committed", func() bool { return number(t, c, "SELECT count(*) FROM @.log") == int64(n+1) })
		way.drop()
		got := next(t, answers)
		if got.err != nil || int64(got.at) != number(t, c, "SELECT position FROM @.log WHERE id = convert_to($1, 'UTF8')", newEvent("a", n).ID) {
			t.Errorf("event %d: Append says %d, %v", n, got.at, got.err)
		}
	}
	if n := number(t, c, "SELECT count(*) FROM @.log"); n != 4 {
		t.Errorf("the log has %d entries, want 4", n)
	}
}

// While the server is away nothing is taken and Check is red; when it is back everything goes on, nothing taken is lost,
// and nothing comes twice to a group that had acked.
func TestANodeGoesOnWhenTheServerIsBack(t *testing.T) {
	c := newConfig(t)
	c.Timeout = 2 * time.Second
	db, way := through(t, c)
	seen, reader := broadcast(t, db), group(t, db, "g", "a")
	for round := range 2 {
		emit(t, db, "a", 2*round)
		next(t, seen).Ack()
		next(t, reader).Ack()
		way.cut()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if _, err := appendEvent(ctx, db, newEvent("a", 1000)); err == nil {
			t.Fatal("an event was taken though the server is away")
		}
		cancel()
		if err := db.Check(t.Context()); err == nil {
			t.Error("Check says that all is well though the server is away")
		}
		way.mend()
		waitFor(t, "Check is green", func() bool { return db.Check(t.Context()) == nil })
		emit(t, db, "a", 2*round+1)
		want := newEvent("a", 2*round+1).ID
		for got := ""; got != want; {
			b := next(t, seen)
			got = b.Messages[len(b.Messages)-1].UUID
			b.Ack()
		}
		for got := ""; got != want; {
			m := next(t, reader)
			got = m.UUID
			m.Ack()
		}
	}
}

// A server that takes no writes is said to be that, and left for one that does.
func TestAServerThatIsReadOnlyIsLeftAndComeBackTo(t *testing.T) {
	c := newConfig(t)
	c.Timeout = 2 * time.Second
	db := open(t, c)
	emit(t, db, "a", 0)
	admin := connect(t, c)
	defer admin.Close(context.Background())
	var name string
	if err := admin.QueryRow(t.Context(), "SELECT current_database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	restart := func(how string) {
		t.Helper()
		for _, statement := range []string{
			"SET default_transaction_read_only = off", how,
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
		} {
			if _, err := admin.Exec(context.Background(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	restart("ALTER DATABASE " + name + " SET default_transaction_read_only = on")
	defer restart("ALTER DATABASE " + name + " RESET default_transaction_read_only")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := appendEvent(ctx, db, newEvent("a", 1)); err == nil {
		t.Fatal("an event was taken by a server that is read-only")
	}
	if err := db.Check(t.Context()); err == nil {
		t.Error("Check says that all is well though the server is read-only")
	}
	restart("ALTER DATABASE " + name + " RESET default_transaction_read_only")
	waitFor(t, "events are taken again", func() bool {
		_, err := appendEvent(context.Background(), db, newEvent("a", 2))
		return err == nil
	})
	if n := number(t, c, "SELECT count(*) FROM @.log WHERE id = convert_to('a#1', 'UTF8')"); n != 0 {
		t.Errorf("an event whose Append has failed is there %d times", n)
	}
}

// What the server tells is swallowed on the way, from the start or later, and the connection looks well: the node looks by
// itself.
func TestANodeThatHearsNothingLooksByItself(t *testing.T) {
	for name, swallow := range map[string]func(*postgres.DB, *proxy){
		"from the start": func(_ *postgres.DB, way *proxy) {},
		"later":          func(db *postgres.DB, way *proxy) { way.swallow(""); way.drop(); awake(t, db); way.deafen() },
	} {
		t.Run(name, func(t *testing.T) {
			c := newConfig(t)
			other := open(t, c)
			way := newProxy(t, c.URL)
			way.swallow("LISTEN ")
			c.URL = way.url
			db := open(t, c)
			swallow(db, way)
			seen := broadcast(t, db)
			for n := range 3 {
				emit(t, other, "a", n)
				next(t, seen).Ack()
			}
		})
	}
}

// A standby that was behind has taken the server's place: the positions of what is lost are not given out again, so that
// nodes which have met them miss nothing.
func TestPositionsThatWereLostAreNotGivenOutAgain(t *testing.T) {
	c := newConfig(t)
	one, two := open(t, c), open(t, c)
	seen := broadcast(t, one)
	var last bus.Position
	for n := range 5 {
		last = emit(t, two, "a", n)
	}
	for n := 0; n < 5; {
		b := next(t, seen)
		n += len(b.Messages)
		b.Ack()
	}
	closeDB(t, two)
	sql(t, c, "DELETE FROM @.log WHERE position > 2")
	if at := emit(t, one, "a", 5); at <= last {
		t.Errorf("a node that has met position %d appends at %d", last, at)
	}
	next(t, seen).Ack()
	sql(t, c, "DELETE FROM @.log WHERE position > 2")
	if err := one.Lift(t.Context()); err != nil {
		t.Fatal(err)
	}
	third := open(t, c) // which has not met them
	if at := emit(t, third, "a", 6); at <= last {
		t.Errorf("a node that has met nothing appends at %d, another one has met %d", at, last)
	}
	if b := next(t, seen); b.Messages[0].UUID != "a#6" {
		t.Errorf("behind what was lost comes %s", b.Messages[0].UUID)
	}
}

// The connections work, but what the node reads of the log does not arrive.
func TestCheckIsRedWhenNothingFlows(t *testing.T) {
	c := newConfig(t)
	c.Timeout = 5 * time.Second
	other := open(t, c)
	db, way := through(t, c)
	emit(t, other, "a", 0)
	waitFor(t, "all is well", func() bool { return db.Check(t.Context()) == nil })
	way.swallow("FROM (SELECT * FROM " + c.Schema + ".log ")
	emit(t, other, "a", 1)
	if err := db.Check(t.Context()); !errors.Is(err, postgres.ErrStalled) {
		t.Errorf("Check: %v, want ErrStalled", err)
	}
	way.mend()
	waitFor(t, "all is well again", func() bool { return db.Check(t.Context()) == nil })
}
