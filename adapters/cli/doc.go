// Package cli is the frame of evosink's commands: words on the command line, help, exit codes. A command is a value
// in main's table; the frame knows none by name. What the commands need from other rooms comes in as small interfaces and
// funcs from main, because adapters do not know the configuration (DESIGN.md).
//
// Everything a command touches of the process is in [Env], so a test runs a command with buffers. Exit codes are 0 for
// success, 1 when the command failed, 2 when it was called wrongly.
package cli
