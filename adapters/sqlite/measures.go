package sqlite

import "github.com/evosink/evosink/core/sink"

var _ sink.Measurer = (*DB)(nil)

// Measures implements [sink.Measurer].
func (db *DB) Measures() []sink.Measure {
	now := db.Stats()
	times := sink.Measure{
		Name: "commit_seconds", Help: "How long group commits took, fsync included.", Kind: sink.Histogram,
		Value: now.CommitTime.Seconds(), Buckets: make(map[float64]uint64, len(CommitBounds)),
	}
	for i, bound := range CommitBounds {
		times.Count += now.CommitTimes[i]
		times.Buckets[bound.Seconds()] = times.Count
	}
	times.Count += now.CommitTimes[len(CommitBounds)]
	counter := func(name, help string, n uint64) sink.Measure {
		return sink.Measure{Name: name, Help: help, Kind: sink.Counter, Value: float64(n)}
	}
	out := []sink.Measure{
		times,
		counter("writes_total", "Changes in group commits.", now.Writes),
		counter("failed_commits_total", "Group commits that failed.", now.Failures),
		{Name: "commit_running_seconds", Help: "For how long the group commit under way has been running.", Value: now.CommitRunning.Seconds()},
		{Name: "log_events", Help: "Events in the log.", Value: float64(now.Events)},
		{Name: "log_bytes", Help: "Bytes of the events in the log.", Value: float64(now.Bytes)},
	}
	if !now.Oldest.IsZero() {
		out = append(out, sink.Measure{Name: "log_oldest_timestamp_seconds", Help: "When the oldest event of the log was stored.", Value: float64(now.Oldest.UnixMilli()) / 1000})
	}
	return out
}
