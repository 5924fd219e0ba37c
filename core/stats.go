package core

import (
	"time"

	"github.com/evosink/evosink/core/sink"
)

// Stats are a hub's figures since it was made, for metrics. What waits for queued sinks is in [queue.Queue.Stats].
type Stats struct {
	Emitted uint64 // events that the engine took, repeated ones included
	Sinks   []SinkStats
	Engine  []sink.Measure // of a Bus that is a [sink.Measurer]
}

// SinkStats are the figures of one enabled sink.
type SinkStats struct {
	Name              string
	Delivered, Failed uint64    // deliveries of a live sink; those of queued ones are counted by the queue
	Connected         time.Time // since when, if it is a [sink.Connector]; zero if it is none, or not connected
	LastError         error     // of the connection, maybe long ago; nil if it is no Connector, or nothing ever failed
	Measures          []sink.Measure
}

// Stats returns the figures of this moment. It is cheap.
func (h *Hub) Stats() Stats {
	s := Stats{Emitted: h.emitted.Load(), Engine: measures(h.opts.Bus)}
	for _, m := range h.sinks {
		s.Sinks = append(s.Sinks, m.stats())
	}
	return s
}

func (m *member) stats() SinkStats {
	s := SinkStats{Name: m.name, Delivered: m.delivered.Load(), Failed: m.failed.Load(), Measures: measures(m.get())}
	if c, ok := m.get().(sink.Connector); ok {
		s.Connected, s.LastError = c.Connection()
	}
	return s
}

// measures returns the figures of who has some.
func measures(of any) []sink.Measure {
	if m, ok := of.(sink.Measurer); ok {
		return m.Measures()
	}
	return nil
}
