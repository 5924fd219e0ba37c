//go:build !unix

package sinkbench

import "time"

// ProcessorTime is not known here.
func ProcessorTime() time.Duration { return 0 }
