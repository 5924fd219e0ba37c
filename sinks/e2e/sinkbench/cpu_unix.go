//go:build unix

package sinkbench

import (
	"syscall"
	"time"
)

// ProcessorTime returns what this process has used of the processors, in the kernel too. Any number of goroutines may
// call it at once.
func ProcessorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
