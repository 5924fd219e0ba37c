//go:build !unix

package sinkbench

import "time"

// processorTime is not known here.
func processorTime() time.Duration { return 0 }
