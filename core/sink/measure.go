package sink

import "time"

// Abilities by which operators see what a sink does, found by assertion.
type (
	// A Measurer has figures of its own for metrics, beside those that the core counts for every sink. It is asked often,
	// by any number of goroutines at once, and must answer promptly. An engine may be one too.
	Measurer interface {
		Measures() []Measure
	}

	// A Connector holds a connection, and tells since when; zero means that there is none now. last is the last failure
	// of the connection, nil if there never was one; it stays when all is well again.
	Connector interface {
		Connection() (since time.Time, last error)
	}
)

// A Measure is one figure of this moment. Several of the same Name differ in LabelValue only.
type Measure struct {
	Name  string // in snake_case, with its unit, a counter ending in _total ("sent_packets_total"); the owner's name precedes it
	Help  string // what it counts, in half a line
	Kind  MeasureKind
	Value float64 // of a histogram: the sum of all that was observed

	Label, LabelValue string // one label more, for figures that come in kinds; "" for none

	Count   uint64             // of a histogram: how often something was observed
	Buckets map[float64]uint64 // of a histogram: by upper bound, how many observations were not above it
}

// MeasureKind tells how a figure changes.
type MeasureKind uint8

// The kinds of figures.
const (
	Gauge     MeasureKind = iota // goes up and down
	Counter                      // only ever grows, from the start of the process
	Histogram                    // counts observations by size
)
