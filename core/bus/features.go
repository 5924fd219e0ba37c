package bus

// Features are what an engine can do beyond the least that [Bus] promises. The hub gets by without any of them; what
// that costs stands beside each.
type Features struct {
	// Durable: what Append has taken outlives a crash of process and machine. Without: events that wait are lost with the
	// process, or as the engine says.
	Durable bool
	// Reopens: a bus that is opened when all others are closed finds the log, and goes on where its groups stand. Without:
	// what was not handled when the hub ended is gone.
	Reopens bool
	// Backlog: a new group begins with the first message that the log holds. Without: with what is published after its
	// first Subscribe, so the hub takes no event before it runs.
	Backlog bool
	// AtomicBatches: the messages of one Append are published together or not at all; after an error none is. Without: a
	// caller that gets an error emits again with the same ids.
	AtomicBatches bool
	// Once: the log can be asked for an id, see [Entry]. Without: an event that is posted again is delivered again.
	Once bool
	// Positions: Append, batches and broadcasts tell positions, and Reached waits for them. Without: an instance is
	// removed before sinks have seen its last events.
	Positions bool
	// Replay: the log can be read again (the core's sink.Log), and the positions of all shards are in one order. Without:
	// no "since" and no recovery of missed events beyond what a sink itself keeps.
	Replay bool
	// CursorWithQueue: the queue's store moves the cursor of a group that keeps its batches ([Batch].Keep), so that the
	// log answers for what is delivered at once. Without: the queue stores every event before the ack, and a crash
	// between the two puts it into the queue again.
	CursorWithQueue bool
	// Nodes: several buses, each a node of one cluster, share the log: a broadcast reaches all of them, and a group's
	// message goes to one. Without: one hub at a time.
	Nodes bool
}

// Missing returns the names of the features that f lacks.
func (f Features) Missing() (names []string) {
	for _, feature := range []struct {
		has  bool
		name string
	}{
		{f.Durable, "Durable"}, {f.Reopens, "Reopens"}, {f.Backlog, "Backlog"}, {f.AtomicBatches, "AtomicBatches"},
		{f.Once, "Once"}, {f.Positions, "Positions"}, {f.Replay, "Replay"}, {f.CursorWithQueue, "CursorWithQueue"},
		{f.Nodes, "Nodes"},
	} {
		if !feature.has {
			names = append(names, feature.name)
		}
	}
	return names
}
