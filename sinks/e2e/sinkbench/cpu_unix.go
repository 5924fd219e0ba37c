//go:build unix

package sinkbench

import (
	"syscall"
	"time"
)

// processorTime returns what this process has used of the processors, in the kernel too.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
