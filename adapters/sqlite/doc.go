// Package sqlite is the engine of one machine: the log of events, the cursors of its groups, the instances and the
// delivery queue, in one SQLite file, without cgo. It implements [bus.Bus], [sink.Log], [instances.Store] and, see
// [DB.Queue], the queue's store.
//
// [Open] wires four packages, each of which knows only those above it, and row, how an event is stored:
//
//	internal/file        the open file: lock, single writer with group commit, transactions, damage, schema, full disk
//	internal/registry    instances, and their feed of changes
//	internal/eventlog    append, read, replay, cursors of groups, retention
//	internal/deliveries  lanes, results, dead letters, sweep
//
//	Publish ─┐                                   ┌─ subscriptions (broadcast, groups): from memory
//	cursors ─┼─> queue ─> writer: group commit ──┤
//	stores  ─┘            one fsync for all      └─ those that are behind: the read pool
//
// Writing. One goroutine has the only writing connection (WAL, synchronous=FULL). Every change is a write: a function
// on a transaction, of which the caller waits for the commit. The writer takes what waits, runs it in one transaction
// and commits once, so that the cost of an fsync is shared by all writes that came while the last one ran. A patient
// write, which is not worth an fsync, joins the commit of those that come next; it waits 20 ms for them and has one of
// its own then. Another table in the file takes a migration and writes of its own; they join the same commits.
//
// Reading. After the commit, and only then, the entries go to package tail, which wakes the subscriptions; a
// subscription that keeps up never touches the file, one that is behind reads pages of it: of one shard by way of the
// table that tells which blocks of positions hold entries of it. Nothing polls: an idle file is neither read nor
// written, but for a look at the oldest entry once a minute.
//
// Cursors. An ack moves the cursor in memory; it is stored within 100 ms, and when the file is closed. After a crash a
// group is given again what it acked in that time. The cursor of the queue's group is moved by the queue itself, with a
// list of what is done behind it (core's queue.Mark): in the transaction that stores deliveries, as far as these make it
// move, and else by a patient write.
//
// Retention. Entries of all go when they are older than the age of the configuration. When the log is beyond its size,
// entries of the instances that hold most go, so that none loses events to another as long as it holds less than an
// equal part. Either way an instance's oldest entry is the first, in small batches between other writes; never the
// newest entry of the log, and never what a group has not acked. So a replay of one instance is complete from any event
// on that is still there; one of all instances that begins before something that was cut is expired. What each instance
// holds is counted in memory; the file has a table of it as of some position, and the entries behind that are counted
// when it is opened. A group that had no subscription for the retention age (a week, if there is none), nor in the
// first hour after the start, is forgotten. Broadcast subscriptions hold nothing back: one that is further behind than
// retention misses what is gone. Order is by position and nothing else, so a clock that is set back neither reorders
// nor removes anything; entries stay longer then.
//
// Age. What is removed for its age is old by a clock that follows the wall clock only as fast as time passes: one that
// jumps ahead, or is ahead of the file at the start, is believed after six hours, and until then only removes less.
// What is stored bears the wall clock's time.
//
// Replays. They take turns of a page each, so many clients that come back at once delay publishing no more than a few
// do.
//
// Instances. Every change of one raises a counter in the file, in the same transaction, and goes to a feed in memory
// after the commit, which registries follow. The table has the digest of the token under a unique index, and the
// position of the log at which the instance was created; a deleted one leaves that of its deletion behind, until
// retention has removed what came before. Replay and appending once know by these which events are those of the present
// owner of a name.
//
// Erasure. What is erased of an instance is overwritten with zeros, in its rows and in pages that become free. Copies may
// be left: in the write-ahead log until it is used again from its start or the file is closed; in unused parts of pages
// from which a row had moved before; and of rows that had gone before, by delivery or retention, which are overwritten
// only when their page is used again. The name stays until retention has passed the moment of its deletion.
//
// Trouble. The file belongs to one process, held by locks that die with the process: on a file beside it, found through
// all symbolic links, and on Linux on the file itself. A file with several names (hard links) is refused. A file that
// is damaged, empty, newer than this program or not ours is an error that says what to do, never a reason to begin a
// new one; before SQLite opens the files they are searched for damage that it passes over without a word, and
// AcceptDamage goes on with such files after copying them. A file that is removed, moved or replaced while it is open
// is found before a commit is acknowledged: Publish fails with [ErrMoved] until the file is back, and what only the
// open file still holds is saved beside it at the end. A commit that does not end makes Check [ErrStalled].
//
// When the disk is full Publish fails with [ErrFull] and Check is red; what was acknowledged stays. A reserve of disk
// space is then given free to what frees space: results of deliveries are stored (attempts are not logged), what was
// delivered is removed at once and is no longer absorbed when it comes again, and free pages go back to the disk. When
// the reserve fits again, events are taken again.
package sqlite
