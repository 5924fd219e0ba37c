//go:build unix

package signals

import (
	"os"
	"syscall"
)

var (
	hangup   = []os.Signal{syscall.SIGHUP}
	harmless = []os.Signal{syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGUSR2}
)
