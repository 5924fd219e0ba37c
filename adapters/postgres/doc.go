// Package postgres is the engine of several machines: the log of events, the leases and cursors of its groups, the
// instances and the delivery queue, in one schema of one PostgreSQL database (13 or later). It implements [bus.Bus],
// [sink.Log], [instances.Store] and, see [DB.Leases] and [DB.Queue], [bus.Leases] and the queue's store.
//
// [Open] wires packages, each of which knows only those above it:
//
//	internal/database   connections, migrations, the bell (LISTEN and NOTIFY), what errors mean
//	internal/lease      shards and the nodes that have them; epochs
//	internal/registry   instances, and their feed of changes
//	internal/eventlog   append, follow, replay, cursors of groups, retention
//	internal/deliveries lanes, results, dead letters, pauses and jobs
//
// Order. A node commits what its producers append one commit at a time, all that came during the last commit at once, by
// one call of a function of the server. The function takes a lock that is let go when the commit can be seen. So the
// positions of all nodes are one order without gaps that fill later: who has read up to a position has read everything.
//
// Reading. One reader per node takes what all nodes have appended into memory (package tail), woken by NOTIFY or, while
// that does not arrive, by a look every 100 ms; subscriptions are fed from there. What a node has just committed itself is
// not read again unless another node was in between.
//
// Groups. The process that has the lease of a shard for a group reads it: its node has acquired that, or it is acquired
// for the subscription. Every cursor that is stored is checked against the epoch of the lease, in the same transaction;
// so is everything that is written with a lease. A former holder writes nothing any more.
//
// Pauses. How often pauses were changed is read together with events, wherever a node gets those: so an event is held by
// what was paused, on whichever node, before it was appended.
//
// Doubt. When the connection breaks during a commit, the same commit is sent again under its number until the time-out
// has passed; the server knows it if it has happened. Only when the server does not come back in that time is the result
// left open ([ErrUnknown]).
//
// Retention. The log is cut into tables of consecutive positions; the oldest is dropped when all its events are too old,
// or the log is too large, unless a group has not acked something of it. One node at a time does so. While something
// reads the log for long, such as a dump, nothing is dropped.
//
// Long transactions. Appending changes no row, so a foreign transaction that is open for hours does not slow it down; what
// delivered deliveries leave behind in the tables of the queue cannot be freed in that time.
//
// Poolers. No statement has a name on the server, no lock outlives its transaction and nothing but the user and the
// database is asked for at the start of a connection, so a pooler may give each transaction another connection.
// Notifications do not arrive then, which is noticed: nodes poll.
//
// Erasure. What is erased of an instance is deleted; the server overwrites it when autovacuum has freed its place. Its
// write-ahead log, standbys and backups are the operator's.
package postgres
