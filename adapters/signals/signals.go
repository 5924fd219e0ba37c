// Package signals says what the system's signals do to the process. For the server:
//
//	SIGINT, SIGTERM    the end begins (server.shutdown_timeout; httpapi.Process has its order); the second one ends the
//	                   process at once, code 130 or 143
//	SIGHUP             the configuration is read again; what can change while evosink runs does, the rest is told
//	SIGPIPE            nothing: a log that nothing reads any more is no reason to end
//	SIGUSR1, SIGUSR2   nothing
//	SIGQUIT            Go's default: the stacks of all goroutines, and the end
//
// Commands that ask a server something treat SIGINT and SIGTERM the same, and leave the others at their defaults: a
// pipe that is closed, or a terminal, ends them.
package signals

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Interrupted returns a context that ends at the first SIGINT or SIGTERM. The second one ends the process, with code
// 128 plus the signal's number, after a line to stderr. It holds for the life of the process.
func Interrupted(ctx context.Context, stderr io.Writer) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-c
		cancel()
		again := <-c
		_, _ = fmt.Fprintf(stderr, "evosink: %v again: ending at once\n", again)
		code := 1
		if number, ok := again.(syscall.Signal); ok {
			code = 128 + int(number)
		}
		os.Exit(code)
	}()
	return ctx
}

// Hangup makes the process a server: it returns a channel of SIGHUP, and takes their effect from the signals that would
// end it for no reason. A channel that never delivers is returned where the system has no such signals.
func Hangup() <-chan os.Signal {
	ignored := make(chan os.Signal, 1) // what does not fit is dropped. signal.Ignore would be inherited by plugins
	if len(harmless) > 0 {
		signal.Notify(ignored, harmless...)
	}
	hangups := make(chan os.Signal, 1) // one that waits stands for all
	if len(hangup) > 0 {
		signal.Notify(hangups, hangup...)
	}
	return hangups
}
