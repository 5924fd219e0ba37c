// Package tail is the live half of a bus, shared by the engines that number the entries of their log themselves
// (memory, sqlite, postgres): the newest entries in memory, and subscriptions that follow them.
//
// An engine keeps one [Log] and gives it each entry after storing it for good. A [Tail] holds as many of the newest as
// the engine allows and wakes the readers that wait for them, so an idle log costs nothing and a live reader never
// touches the disk. A reader that fell behind what the tail holds reads from the engine's storage until it has caught
// up; it holds up no other.
//
// [Readers] knows where each reader stands. A group has one cursor per shard, and one subscription at a time may move
// it: a second one, on whichever [Node] of the process, waits until the first has ended and goes on behind its last
// ack.
//
// Each subscription is one goroutine, owned by the Node that made it. A broadcast hands the next entry over after the
// ack of the last. A group hands over entries of many instances at once and the next of an instance after the ack of
// the last, see window. So no instance can get out of order, and a nack is a pause of that subscription, or that
// instance, alone.
package tail
