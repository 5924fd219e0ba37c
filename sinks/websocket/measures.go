package websocket

import (
	"sync/atomic"

	"github.com/evosink/evosink/core/sink"
)

var _ sink.Measurer = (*Sink)(nil)

// counts is what the sink counts besides its server.
type counts struct {
	refused   atomic.Uint64 // CONNECTs
	recovered atomic.Uint64 // sockets
	replayed  atomic.Uint64 // events
}

// Measures implements [sink.Measurer].
func (s *Sink) Measures() []sink.Measure {
	now := s.server.Stats()
	sockets := now.Joined
	out := []sink.Measure{
		{Name: "sessions", Help: "Connections that are open.", Value: float64(now.Sessions)},
		{Name: "namespaces", Help: "Namespaces that are there.", Value: float64(now.Namespaces)},
		{Name: "joined_total", Help: "Sockets that joined a namespace.", Kind: sink.Counter, Value: float64(now.Joined)},
		{Name: "refused_total", Help: "Attempts to join a namespace that were refused.", Kind: sink.Counter, Value: float64(s.counts.refused.Load())},
		{Name: "recovered_total", Help: "Sockets that came back and got what they missed.", Kind: sink.Counter, Value: float64(s.counts.recovered.Load())},
		{Name: "replayed_total", Help: "Events sent to clients from the log.", Kind: sink.Counter, Value: float64(s.counts.replayed.Load())},
		{Name: "received_packets_total", Help: "Packets from clients.", Kind: sink.Counter, Value: float64(now.Received)},
		{Name: "sent_packets_total", Help: "Packets to clients.", Kind: sink.Counter, Value: float64(now.Sent)},
	}
	for reason, n := range now.Disconnects {
		sockets -= min(n, sockets) // the figures are not of the same instant
		out = append(out, sink.Measure{
			Name: "left_total", Help: "Sockets that left their namespace, by reason.", Kind: sink.Counter,
			Label: "reason", LabelValue: string(reason), Value: float64(n),
		})
	}
	return append(out, sink.Measure{Name: "sockets", Help: "Sockets that are in a namespace.", Value: float64(sockets)})
}
