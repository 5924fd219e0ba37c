package queue

import (
	"sync/atomic"
)

// An item is a delivery in the memory of its lane. The lock of the lane's scheduler guards it.
type item struct {
	Delivery          // Seq is 0 until the store has it
	lane     *lane    // nil if it is refused
	size     int64    // see [Size]
	keeper   keeper   // who answers for it
	gone     bool     // its lane is done with it
	results  []Result // what came of it before the store had it: the store is told when it has

	// What follows is of one that was taken from the log.
	event *logged     // as dest and size, set before others see it
	dest  Destination // and not changed
	done  atomic.Bool // the log need not give it again: its lane is done with it, or it is stored with the mark that says so
	name  uint64      // digest of its lane, once the ledger has needed it
}

// A keeper says who answers for a delivery, so that it comes again after a crash.
type keeper uint8

const (
	byLog    keeper = iota // the log: nothing of it is written down
	spilling               // the log, until the ledger has had it stored
	storing                // the store has been told, and not answered yet
	byStore                // the store, which has its Seq
)
