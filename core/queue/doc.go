// Package queue delivers events to the targets of sinks at least once, in order per lane, through crashes, restarts
// and targets that are down for days, and without one target costing another anything but the disk.
//
//	Take ──> lane table ──────> endpoints ──> attempt ──> sink
//	 from     per sink, target   limit, breaker;            │
//	 the log  and instance       hosts, turns of            │
//	   │        │  ^  ^ timers   instances                  │
//	   │        │  │  └────── retry, later <──── result <───┘
//	   │        │  └── windows ── Store ──────────┤ delivered: nothing is written
//	   v        v                ^  ^  ^          └──> result buffer ──> Store, of what is stored
//	 track ──> ledger: marks ────┘  │
//	             └── spills ────────┘
//
// Each sink has a scheduler with a lock of its own: its lane table (lane.go), its endpoints (endpoints.go) and its
// attempts (attempt.go). What an attempt came to is decided in result.go: a retry, a dead letter, a breaker. What has
// to be written down is, behind what is delivered: by the ledger (ledger.go) for deliveries that the log answers for,
// and by the result buffer (buffer.go) for those that are stored. The [Admin] is what operators see and do. Where to
// look:
//
//	events come from the log, and are stored or not     take.go        Queue.Take, scheduler.take, scheduler.holdsBack
//	how far the log is handled                          track.go       track.mark; written by ledger.go, checkpoint.go
//	what may enter a lane, and what becomes of the rest    door.go       door.admit, Queue.Room; limits in capacity.go
//	what holds a lane back                                 lane.go       laneState, with the place of each reason
//	when an attempt begins                                 scheduler.go  scheduler.next; then attempt.go, from begin on
//	a failure: retry, pause, breaker                       result.go     attempt.handleFailure, attempt.applyBreaker
//	deliveries become dead letters, and come back          deadletters.go; the work on all nodes in jobs.go
//	a shard is taken over, let go of, lost                 shards.go     Queue.Acquire, Queue.Release, Queue.Drop
//	the queue ends                                         close.go      Queue.Close
//
// # The log is the queue
//
// The store keeps only what the log cannot answer for. [Queue.Take] is given events in the order of the log and puts
// their deliveries into lanes in memory. A delivery that succeeds there writes nothing of its own: the shard's track
// notes that its event is handled, and the ledger writes a [Mark] 3 ms after that, with what has moved meanwhile:
// the cursor, up to which everything is handled, and the lanes of events behind it that are done with. A crash repeats
// what was delivered since the last mark, with the same key, and nothing else.
//
// What does not get through is spilled, that is stored, and from then on the mark passes it by. It is written in the
// transaction that marks it, so it comes from the log no more; an event is stored once for all lanes that spill it
// together. Spilled is
//
//	everything of a lane         when its first delivery fails or is held back (a pause, settings, no such sink)
//	what comes for a lane        while it backs off, is suspended, its endpoint's breaker is not closed, its attempt takes
//	                             more than 500 ms, or it does not fit into the lane's window: 512 deliveries, or a quarter
//	                             of the shard's bytes
//	the lanes of old events      when the shard has events that were not handled for 500 ms, also if an attempt has them
//	                             in hand
//	the lanes of the older half  when the shard's window of 4096 events, or its part of Config.CacheBytes, is full; Take
//	                             waits until it is not
//	the first delivery           when it becomes a dead letter
//
// Such a lane goes on from the store, in order, and what comes when all of it is in its window again stays in memory. A
// shard whose lanes are handed over or lost is given again to its next owner, from the mark on.
//
// A log without [bus.Features].CursorWithQueue may not have an event any more when it is acked, so it cannot answer for
// it: [Queue.Put] stores its events before that, and they go on from the store.
//
// # Lanes
//
// A lane, named by a [LaneKey], is the ordered line of deliveries of one (sink, target, instance). Only its first
// delivery is tried; those behind it wait until it was delivered or has become a dead letter, so a target sees an
// instance's events in order. Lanes do not wait for each other, and a lane that waits holds no goroutine: it is an
// entry in a heap of timers. A lane about which there is nothing to know is forgotten.
//
// A sink that takes batches gets several deliveries of a lane at once, and its target may refuse one and take those
// behind it. What is behind the first failure is sent again whatever was said of it, so the order is restored: a
// consumer sees some events early and then again at their place, and never an older one last. The one that failed is
// tried alone first, and batches double behind it.
//
// Memory holds of a lane where it stands, what the log answers for and, while it is worked on, a window of its first
// events, all windows together within Config.CacheBytes. Everything else is in the [Store]. A million events that wait
// in a few lanes cost nothing; a lane costs half a kilobyte.
//
// # Attempts
//
// How a failed delivery goes on depends on the error and on the sink's [sink.Policy] ([sink.DefaultPolicy] if it has
// none):
//
//	nil           removed from the lane
//	Permanent     dead letter
//	RetryAfter    again after the longer of the two waits (an hour at most); the address is left alone until then
//	Unavailable   again when the host is probed; uses up no attempt; opens the host's breaker until it is back.
//	              With an answer reported ([sink.Report]), the target's breaker, as the host is there
//	a panic       as any other error; the sink is restarted, its other lanes wait for that
//	any other     again after Policy.Delay; several in a row open the target's breaker
//
// A lane may be tried when it is ready (scheduler.setState) and has its turn at its endpoint, the endpoint has its own
// at the sink (endpointTable.placeOf: breakers and limits; scheduler.next: Config.Workers), and, asked last, neither a
// pause nor the settings hold it back (attempt.prepare).
//
// A delivery with its attempts or age used up becomes a dead letter, or pauses its lane, as its policy says. Every
// delivery is tried at least once. Times of waiting are monotonic: a wall clock that is set back delays nothing, and
// what a restart finds in the store waits an hour at most.
//
// The lanes of one address (see [sink.Addresser]) share an endpoint, which limits how many are tried at once and is
// their circuit breaker: open, it keeps all of them; half open, one of them probes. Events of a single instance that
// a shared target refuses do not open it: that takes failures of several instances with no success between them.
// Endpoints at one host (see [sink.Hoster]) share the host's breaker, which is for unavailability alone: a host that
// cannot be reached is probed by one attempt, however many tenants have targets there.
//
// # Fairness
//
// An attempt is a goroutine of its own, so that one that waits for an answer holds up nothing but its lane.
// Config.Workers bounds them for a sink, Config.PerInstance those for one instance's own targets, Config.PerTarget
// those at one address; Config.InFlightBytes and Config.InFlightPerInstance bound the events that they hold in memory.
// Where attempts are short, instances take turns. Of what may wait, an instance has
// Config.InstanceLimit deliveries and Config.InstanceBytes; and when Config.TotalLimit or Config.TotalBytes is reached,
// those below an equal part of it still find room. A delivery counts the [Size] of its event. Of dead letters, those of
// the instances that have most go first.
//
// # What deliveries wait for
//
//	disabled      the sink's switch or the instance's settings are off: kept until they are on again ([Queue.Refresh])
//	paused        [Queue.Pause]: kept until [Queue.Resume]; a pause of an instance holds no other one, and ends with it
//	deleted       an instance that is gone: deliveries to its own targets become dead letters; global targets get theirs
//	no such sink  not in this process's configuration: kept until a start with it
//	no room       presence and typing make room by being dropped; what else finds none is refused before it is taken
//	              ([Queue.Room]: 429 and the limit's key); what was taken before that, Config.WhenFull: a dead letter at
//	              once, or the shard waits
//
// Settings are read at each attempt, so a corrected URL counts for what waits already.
//
// # Nodes
//
// Lanes belong to the shard of their instance, and shards to nodes. A queue delivers what waits in the shards that it
// holds: between [Queue.Acquire], which reads their lanes, and [Queue.Release], which waits until nothing of them is
// under way. Writes carry the lease; when one is refused, or the lease's life ends, the shard is dropped at once.
// Statistics and lists are of the shards held. Pauses hold on every node that shares the store. A purge or a requeue
// of what others own is a job in the store: each owner does its part, and the caller waits for the sum.
//
//	clean handover    nothing lost, nothing twice, in order; an attempt that does not end in time is made again
//	a node dies       the next owner goes on when the lease has ended; attempts in the air and unwritten results come twice
//	a node freezes    the same; when it goes on it begins nothing, and what it writes is refused
//
// # What the log tells
//
//	delivery failed    info  the first failure of a target since it took something
//	target down        warn  its circuit breaker has opened; with how many deliveries wait
//	target still down  warn  every hour
//	target back        info  with how long it was down, and how many deliveries wait
//	target paused      warn  a delivery was exhausted, and the policy pauses its lane then
//	dead letters       warn  how many, by target and reason
//	events dropped     info  how many, to make room
//	no room            warn  a shard waits, Config.WhenFull being "block"
//
// A target has one line of a kind in a minute at most; sums hold what came meanwhile. All lines together are at most
// ten a second for the operator's targets and ten for those of instances, and what was left out is counted in a line of
// its own. Lines hold no payload and no key, and of addresses no more than scheme and host.
//
// # Never lost, seldom twice
//
// Results of what is stored are gathered in a buffer and written down while delivering goes on, as marks are; what a
// crash takes of either is delivered again. An event that the log gives again is known by its position. [Queue.Put]
// returns when the store has the event for good; a bus that gives it again is absorbed: a lane takes an event id of an
// instance once, for as long as it waits and [Retention].SeenAge afterwards. When the store cannot be written, healthy
// lanes go on until the shard's window is full of what should be stored; then Take waits, Put fails, and delivering
// stops once the buffer is full.
package queue
