// Package cli is the frame of evosink's commands: words on the command line, help, exit codes. A command is a value
// in main's table; the frame knows none by name. What the commands need from other rooms comes in as small interfaces and
// funcs from main, because adapters do not know the configuration (DESIGN.md).
//
// Everything a command touches of the process is in [Env], so a test runs a command with buffers. Exit codes are 0 for
// success, 1 when the command failed, 2 when it was called wrongly.
//
// The commands of [ServerCommands] (queue, attempts, dead, sinks) talk to a running server over its routes under /admin, with the global
// key. They print tables for people, and with --json what the server has answered. What changes something needs a selection, or
// --yes for everything; a flag with an empty value is refused, because to a shell that is a variable that is not set. What
// came from elsewhere (names, errors, answers of receivers) reaches the terminal without control characters.
package cli
