//go:build unix

package httpapi

import "syscall"

// openFiles returns how many files the process may have open, sockets included.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fewFiles
	}
	return int(min(uint64(limit.Cur), manyFiles)) //nolint:unconvert // it is signed on some systems
}
