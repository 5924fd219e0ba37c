// Package core is evosink's hub: events in by [Hub.Emit], out to sinks, durably and in order per instance.
//
//	Emit -> bus (durable) -> live/<sink>       every node, sinks of mode Live
//	                      -> dispatch/<shard>  once per cluster, sinks of mode Queued
//
// Emit validates an event, gives it an id and publishes it to the shard of its instance; it returns nil only when the
// engine behind package bus has it for good. From there on a watermill router carries it. One handler per live sink
// asks package scope which targets receive it and calls Deliver. One handler per shard asks scope for all queued sinks
// at once and puts the event into the lanes of package queue, in one transaction with the bus's cursor where both are
// one engine; what the queue cannot take comes again.
//
// Where to look: hub.go has the options and what a hub can be asked, emit.go the way in, run.go what runs and in which
// order it ends. live.go and dispatch.go are the two kinds of handlers, sinks.go and runner.go the sinks with what the
// hub keeps for each, host.go the router for handlers of the process, and settle.go how to wait for an event to be
// handled. ownership.go is how a node gets shards, handover.go how it gives them back or loses them, held.go what it
// keeps for each, and subscription.go how their events come from the bus.
//
// The router is supervised: it has one handler of its own that never ends (watermill's router closes for good with its
// last handler), every handler is added once, before the router runs (a name added again would stack middlewares, one
// in use panics), what a handler does is composed here and not by watermill's middlewares, a panic in a sink is caught
// where the sink is called, and the end of the router before its time is an error of [Hub.Run].
//
// Engines differ, and declare in [bus.Features] what they can do; the hub does without the rest, and logs what it
// misses. [bus.Adapt] makes a bus of a Pub/Sub of watermill that the process has already. What waits for an event to be
// handled ([Hub.Settle]) waits for its position in the engine's log.
//
// Several hubs on one engine share its shards by leases (Options.Leases); without them the one hub owns all. The owner
// of a shard dispatches its events, and delivers what waits in its lanes. It acquires the lease first, then the lanes,
// then subscribes; a handover goes the other way round: the subscription ends, attempts
// under way end, how far the log is handled is written, the lease is given back. What an owner writes to lanes carries the
// lease's epoch and is fenced; and nothing begins in the last part of a lease. So of a hub that dies, or is frozen and
// goes on, only what was in the air comes twice.
//
// What changes of instances is ordered with events: an event is handled on a node when the node knows what had been
// changed on the node that accepted it.
//
// # Order
//
// Events of an instance stay in order because each step hands them on one after the other: the bus keeps a shard in the
// order of its positions, which Append gives; a shard has one owner and one dispatch subscription, which gives the next
// batch after the ack of the last ([bus.Bus], Batches); [queue.Queue.Take] puts them into lanes
// in that order; and of a lane only the first delivery is tried.
//
// # Settings that change
//
// What changes after an event was accepted holds for it where the question is still to be asked:
//
//	which targets get it      asked when the shard's owner takes it from the log, moments after it was accepted; and
//	                          again by the next owner, or after a restart, of what was neither delivered nor stored
//	URL, headers, the switch  asked before each attempt; what was taken is kept while the switch is off
//	a deleted instance        what waits for its own targets becomes dead letters, an attempt under way ends
//	                          as it would; global targets get the event
//	a former instance of      the same: its events reach no target of the present one, and global ones without the
//	the name                  present one's settings
//
// # Glossary
//
//	event            what happened to an instance: event.Event
//	envelope         the JSON in which an event travels to a consumer
//	instance         one tenant of the API: a name, an id, a token, settings per sink
//	sink             delivers events out; mode Live (now, to clients that listen) or Queued (through the queue)
//	target           an address that a sink delivers to for an instance: a URL, a queue
//	scope            why a target receives an event: the global switch, or the instance's settings
//	lane             the ordered line of deliveries of one (sink, target, instance)
//	endpoint, host   what lanes have in common: limits and circuit breakers
//	attempt, result  one try to deliver, and what it came to: delivered, retry, dead letter
//	dead letter      a delivery that was given up; it can be requeued
//	engine           what carries and stores events: sqlite, memory
//	shard            hash(instance) % shards: the unit of order and of ownership on an engine
//	position         a place in the engine's log
//	lease            a node's right to work on a shard, for a time
//	epoch            the number of a lease; it grows when a shard changes hands
//	owner            the node that has a shard's lease: it dispatches the shard's events and has its lanes in memory
//	fenced           refused by the engine, because the epoch is a former one or the lease has ended
//	handover         a shard's way from one owner to the next
//	job              a purge or requeue of what other nodes own, which each owner does its part of
//	key              what a consumer knows a delivery by: event id, instance id, target (sink.Key)
//
// The packages below core are its ports and its vocabulary: event, sink, scope, bus, queue, instances. They know each
// other downward only, and none of them knows an adapter or a sink; main puts them together, with package daemon.
package core
