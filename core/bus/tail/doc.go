// Package tail is the live half of a bus, shared by the engines that number the entries of their log themselves
// (memory, sqlite, postgres): the newest entries in memory, and subscriptions that follow them.
//
// An engine keeps one [Log] and gives it each entry after storing it for good. A [Tail] holds as many of the newest as
// the engine allows and wakes the readers that wait for them, so an idle log costs nothing and a live reader never
// touches the disk. A reader that fell behind what the tail holds reads from the engine's storage until it has caught
// up; it holds up no other.
//
// [Readers] knows where each reader stands. A group has one cursor per shard, and one subscription at a time reads from
// it: a second one, on whichever [Node] of the process, waits until the first has ended and begins at the cursor. An
// ack moves it behind what was handed over, unless the batch is kept: then the engine does, with [Readers.Move], when
// its queue has stored what became of the messages, and the subscription runs ahead of the cursor.
//
// Each subscription is one goroutine, owned by the Node that made it. Batches, and the single entries of a broadcast,
// are handed over one after the other, each after the ack of the last: what that costs beyond the entries themselves, a
// copy of a message and a context, is paid once for all that have come meanwhile. A group's single entries are handed
// over for many instances at once, and the next of an instance after the ack of the last, see window. So no instance
// can get out of order, and a nack is a pause of that subscription, or of that instance, alone.
package tail
