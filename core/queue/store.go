package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// A Store keeps deliveries, dead letters, attempts and pauses for good. Package queuetest holds every store to this
// contract.
//
// All methods may be called by any number of goroutines at once. What a method has written when it returns is still
// there after a crash of process and machine; after an error nothing of the call is, unless the store itself could
// not tell. A method that writes looks at its context before it begins and not afterwards, so that its result is
// never in doubt.
//
// An event is stored once however many lanes one call puts it into, and apart from the log of any bus: the log's
// retention cannot take away what a lane still needs. It goes with the last of its deliveries, or, if further Puts of it
// are to be absorbed, when it is old enough not to come again, see Retention.Seen. A dead letter has its own copy.
//
// Lanes belong to the shard of their instance, bus.Shard(instance, Shards()), and a shard to the node that has its
// lease. What is written to lanes carries that lease; it is fenced: with an epoch that is not the shard's present one,
// or when the lease has ended by the engine's clock, the error is a [*FencedError] and nothing of the call is written.
// Where no lease of a shard was ever given, its epoch is 1: that of the one node on the engine. Pauses, the deletion of
// dead letters and Sweep concern no owner. A store that several nodes share is also [Steering].
type Store interface {
	// Shards returns the engine's number of shards, always the same.
	Shards() int

	// Lanes returns the lanes of these shards in which deliveries wait; of all if none is named.
	Lanes(ctx context.Context, shards ...int) ([]Backlog, error)

	// Put appends the event of each entry to the lane of each of its destinations, in the order of the entries, and
	// writes the marks, if there are some, in a single transaction. The leases are those of the entries' and the marks'
	// shards. It tells for each destination of each entry what became of it, in their order. If a lease is stale nothing
	// is written, and the error tells which.
	//
	// Of an entry without a Position a lane takes the event once: a second Put of the same event id is absorbed while
	// the first still waits, and afterwards for as long as Retention.Seen says. The same id from another instance is
	// another event. An entry with a Position is never absorbed, whatever its id: the marks say what must not come again.
	Put(ctx context.Context, leases []bus.Lease, marks []Mark, entries ...Entry) ([]PutResult, error)

	// Checkpoint writes marks in a single transaction, fenced as Record is. It may wait up to 50 ms for a commit of
	// others that it can be a part of.
	Checkpoint(ctx context.Context, leases []bus.Lease, marks ...Mark) error
	// Marks returns the marks of the shards that are named, in any order; none for a shard that has none yet.
	Marks(ctx context.Context, shards ...int) ([]Mark, error)

	// Window returns the first deliveries of a lane with after < Seq <= until, in order: at most limit of them, and
	// no more than fit into so many bytes of data, but always one if there is one.
	Window(ctx context.Context, l LaneKey, after, until int64, limit, bytes int) ([]Delivery, error)

	// Record writes down how attempts ended, in order, in a single transaction. The leases are those of the results'
	// shards. If one is stale nothing is written, and the error tells which. Results of deliveries that are not there
	// any more change nothing but the log of attempts. The slices are the caller's again when it returns.
	Record(ctx context.Context, leases []bus.Lease, results []Result) error

	// Purge removes deliveries from a lane and returns how many, and what they counted.
	Purge(ctx context.Context, l bus.Lease, c PurgeRequest) (Purged, error)

	DeadLetters

	// Attempts returns what is known of the attempts to deliver an event, in order of time.
	Attempts(ctx context.Context, eventID string) ([]Attempt, error)

	// Pauses returns all pauses.
	Pauses(ctx context.Context) ([]Pause, error)
	// PutPause stores a pause; it replaces the one of the same selector and instance id.
	PutPause(ctx context.Context, p Pause) error
	// DeletePause removes the pauses of a selector, whatever ids they have; if there is none that is no error.
	DeletePause(ctx context.Context, s Selector) error
	// DeletePausesOf removes the pauses of an instance that was deleted: those with a selector that names it and its
	// id, or none.
	DeletePausesOf(ctx context.Context, instance, id string) error

	// Erase removes, in small transactions, the dead letters of an instance, the attempts of its deliveries, and the
	// events of its that wait in no lane and are remembered; those may go with the present instance's. What waits is
	// purged before that. It tells what it removed, also after an error, and may be called again at any time.
	Erase(ctx context.Context, e bus.Erasure) (Erased, error)

	// Sweep removes what retention does not hold any more, in small transactions. When there is nothing to
	// remove it writes nothing.
	Sweep(ctx context.Context, r Retention) error
}

// DeadLetters is the part of a [Store] that keeps dead letters.
type DeadLetters interface {
	// DeadLetters returns dead letters without their events' data.
	DeadLetters(ctx context.Context, f DeadLetterFilter, p Page) ([]DeadLetter, error)
	// CountDeadLetters returns how many there are.
	CountDeadLetters(ctx context.Context, f DeadLetterFilter) (int, error)
	// DeadLetter returns one with its event. Error: [ErrNoDeadLetter].
	DeadLetter(ctx context.Context, id int64) (DeadLetter, error)
	// Requeue moves dead letters of one instance back to the ends of their lanes, in the order given, as fresh deliveries
	// put at a time, with their old event ids; what a lane has absorbed before does not matter here. Ids that do not
	// exist (any more) are left out of the answer.
	Requeue(ctx context.Context, l bus.Lease, ids []int64, at time.Time) ([]Requeued, error)
	// DeleteDeadLetters removes at most limit dead letters and returns how many.
	DeleteDeadLetters(ctx context.Context, f DeadLetterFilter, limit int) (int, error)
}

// Steering is the part of a [Store] by which nodes that share it see what others have set: pauses, and jobs for shards
// that others own. A store of one node does without.
type Steering interface {
	// PausesRevision returns a number from 0 on that grows with every change of pauses that this node knows of. It is
	// asked before each attempt and must cost next to nothing.
	PausesRevision() int64
	// Changed returns what is closed when pauses or jobs have changed, on whichever node.
	Changed() <-chan struct{}

	// AddJob stores a job with its parts and returns its id.
	AddJob(ctx context.Context, j Job) (id int64, err error)
	// Jobs returns all jobs, oldest first.
	Jobs(ctx context.Context) ([]Job, error)
	// AdvanceJob adds to the count of the part of the lease's shard, and ends that part if done is set. It is fenced.
	// A job that is not there any more is [ErrNoJob].
	AdvanceJob(ctx context.Context, l bus.Lease, id int64, count int, done bool) error
	// DeleteJob removes a job; one that does not exist is no error. Sweep removes those that are done and older than
	// Retention.SeenAge.
	DeleteJob(ctx context.Context, id int64) error
}

// A Job is a purge or a requeue of what belongs to shards that other nodes own, or none at this moment. The owner of
// each shard does its part; what an owner has left undone the next one goes on with.
type Job struct {
	ID     int64
	Kind   JobKind
	Purge  Selector         // of a PurgeJob
	Filter DeadLetterFilter // of a RequeueJob: dead letters with ids up to Last, Rate of them per second on each node
	Last   int64
	Rate   int
	At     time.Time
	Parts  []Part
}

// A JobKind is what a job does.
type JobKind uint8

// The kinds of jobs.
const (
	PurgeJob JobKind = iota + 1
	RequeueJob
)

// A Part is what a job has to do in one shard.
type Part struct {
	Shard int
	Count int // deliveries purged, or dead letters requeued, so far
	Done  bool
}

// A FencedError says which shards a call had stale leases for. It wraps [bus.ErrFenced].
type FencedError struct{ Shards []int }

func (e *FencedError) Error() string { return fmt.Sprintf("shards %v: %v", e.Shards, bus.ErrFenced) }

// Unwrap returns [bus.ErrFenced].
func (e *FencedError) Unwrap() error { return bus.ErrFenced }

// shardsFenced returns the shards that a [FencedError] names.
func shardsFenced(err error) []int {
	var fenced *FencedError
	if errors.As(err, &fenced) {
		return fenced.Shards
	}
	return nil
}

// Errors of the queue and of stores.
var (
	ErrNoJob        = errors.New("no job has that id")
	ErrNotHeld      = errors.New("this node does not own the shard")
	ErrNoDeadLetter = errors.New("no dead letter has that id")
	ErrClosed       = errors.New("the queue does not run")
	ErrFull         = errors.New("the queue is full")
)

// A Backlog is what waits in one lane.
type Backlog struct {
	LaneKey
	Scope   sink.Scope
	Waiting int
	Bytes   int64     // sum of their [Size]; of what an older version has stored, about that
	Drops   int       // how many of them were put as droppable
	First   int64     // Seq of the first delivery
	Newest  int64     // Seq of the last one
	Oldest  time.Time // when the first one was put
	Head    Progress  // of the first one; zero if it was not tried yet
}

// A Mark is how far the queue is in a shard of the log: what it need not be given again. It is written where the
// engine has [bus.Features].CursorWithQueue, and takes the place of the shard's former one, but that a cursor does not
// go back.
type Mark struct {
	// Cursor is where the queue's group goes on: what is before it is delivered, or stored, for every lane.
	Cursor bus.Cursor
	// Done is what behind the cursor is delivered or stored too, in a form that is the queue's own; nil if nothing is.
	Done []byte
}

// An Entry is an event to be put into lanes.
type Entry struct {
	Event *event.Event
	At    time.Time
	To    []Destination // of different lanes, all of the event's instance
	// Position is where the log has the event, for an entry that a mark says is stored; 0 for one that is absorbed when
	// it comes again.
	Position bus.Position
}

// A PutResult is what became of one destination of an [Entry].
type PutResult struct {
	Seq int64 // where it waits; 0 if it does not: it was refused, or delivered before
	New bool  // this Put has made it so; false means that it was absorbed
}

// A ResultKind is how an attempt ended.
type ResultKind uint8

// The results.
const (
	Delivered    ResultKind = iota + 1 // the delivery is removed
	Retry                              // it stays, Progress is kept for it
	DeadLettered                       // it becomes a dead letter
)

// A Result is how the attempts of one delivery stand.
type Result struct {
	Lane     LaneKey
	Seq      int64
	Kind     ResultKind
	Progress Progress // with Retry and DeadLettered
	Reason   Reason   // with DeadLettered
	Attempt  *Attempt // added to the log of attempts; nil if it need not be
}

// An Attempt is an entry of the log of attempts.
type Attempt struct {
	LaneKey
	EventID string
	Number  int // counts from 1; an attempt at an unavailable target has the number of the next one
	At      time.Time
	Took    time.Duration
	Error   string // "" if it succeeded
	Status  string // what the sink reported of the answer, see [sink.Report]
	Head    []byte
}

// A PurgeRequest says which deliveries of a lane are removed: those with After < Seq <= Until, the first Max of them.
type PurgeRequest struct {
	Lane         LaneKey
	After, Until int64
	Max          int
	Droppable    bool   // only those that were put as droppable
	Reason       Reason // not "": they become dead letters for that reason
	Overwrite    bool   // what is removed is overwritten where it was stored; without a Reason
}

// Purged is what a purge has removed of a lane.
type Purged struct {
	Count int
	Bytes int64 // of Backlog.Bytes
}

// A Pause keeps the lanes of a selector waiting.
type Pause struct {
	Selector
	// InstanceID is the id of the instance that the selector names: an earlier or later one of that name is not paused.
	// "" if it names none, or was stored before pauses had ids: then every instance of the name is, until one is deleted.
	InstanceID string    `json:"instanceId,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	At         time.Time `json:"at"`
}

// Has reports whether p holds l. A lane without an id is of whichever instance has the name.
func (p Pause) Has(l LaneKey) bool {
	return p.Selector.Has(l) && (p.InstanceID == "" || l.InstanceID == "" || p.InstanceID == l.InstanceID)
}

// A DeadLetter is a delivery that was given up.
type DeadLetter struct {
	ID int64
	LaneKey
	Scope     sink.Scope
	EventID   string
	EventName string
	Reason    Reason
	Progress
	Died  time.Time
	Event *event.Event // only where one letter is asked for
}

// A Requeued is a dead letter that waits in its lane again.
type Requeued struct {
	ID int64
	LaneKey
	Scope sink.Scope
	Seq   int64
	Bytes int64 // what it counts in Backlog.Bytes
}

// A DeadLetterFilter chooses dead letters; empty fields match all.
type DeadLetterFilter struct {
	Selector
	ID      int64 // the one with this id
	EventID string
	Reason  Reason
	Error   string // part of the last error
}

// A Page is a part of a list by id. The zero value is the first page of the oldest.
type Page struct {
	After  int64 // behind this id, in the direction of the list; 0 begins at its start
	Newest bool  // newest first
	Limit  int   // 0 means 100
}

// Retention bounds what is kept beside what waits. A bound of 0 or less keeps nothing, but for LetterBytes.
type Retention struct {
	LetterAge   time.Duration // dead letters
	Letters     int           // see [Excess] for which of them go
	LetterBytes int64         // sum of their events' [Size], by the same rule; 0 sets no bound
	AttemptAge  time.Duration // log of attempts
	Attempts    int
	SeenAge     time.Duration // events put, delivered everywhere, and remembered in order to absorb them again
	Seen        int
	SeenBytes   int // of their data
}
