// Package cli is the frame of evosink's commands: words on the command line, help, exit codes. A command is a value
// in a table; the frame knows none by name. What the commands need from other rooms comes in as small interfaces and
// funcs from package daemon, because the other adapters do not know the configuration.
//
// Everything a command touches of the process is in [Env], so a test runs a command with buffers. Exit codes are 0 for
// success, 1 when the command failed, 2 when it was called wrongly.
//
// The commands of [ServerCommands] (queue, attempts, dead, sinks, instance erase) talk to a running server over its
// routes, with the global key. They print tables for people, and with --json what the server has answered. What changes
// something needs a selection, or --all for everything; a purge, and a replay that is not of ids, asks first, unless
// --yes is given, and takes anything but a yes for a no. A flag with an empty value is refused, because to a shell that
// is a variable that is not set. What came from elsewhere (names, errors, answers of receivers) reaches the terminal
// without control characters.
//
// A replay is a job of the server, which goes on when its command ends: dead replays, dead watch and dead cancel speak
// of it later.
//
// Address and key come from the configuration, or from --url and --key. A key of the user's (typed, in the environment,
// in a file that a flag or variable names) is not sent to an address that only a file of the working directory names
// (.env, config.yaml), unless that is this machine's. Over https the configuration's own server must show the very
// certificate of server.certificate; any other needs the system's trust, or --ca.
package cli
