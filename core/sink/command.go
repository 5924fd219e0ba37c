package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// A Command is something that a client of a sink wants done: socket.emit("send.message", {...}).
type Command struct {
	ID       string          // of this one, for logs
	Name     string          // "send.message"
	Instance string          // on which it is to act; the caller may
	Data     json.RawMessage // the client's bytes, one JSON value; nil means none
	Key      string          // the key that the caller showed, for handing on; never logged
	Global   bool            // it is the global key
}

// Codes of a [CommandError], in the words that clients see.
const (
	CodeUnknown      = "unknown_command" // there is no handler of a command of that name
	CodeUnauthorized = "unauthorized"    // a command needs a key, also where listening needs none
	CodeForbidden    = "forbidden"       // the key does not open the instance, or there is none of that name
	CodeInvalid      = "invalid"         // the command's data are not what they should be
	CodeTooLarge     = "too_large"       // the command's data are too large
	CodeTooFast      = "rate_limited"    // the caller sends too many commands
	CodeUnavailable  = "unavailable"     // no main API is configured, or it cannot be reached
	CodeTimeout      = "timeout"         // it was not done in time; it may be done nevertheless
	CodeFailed       = "failed"          // it was tried and failed
)

// A CommandError is an answer to a command that was not done. Handlers return one to choose what the client sees;
// other errors are answered with [CodeFailed] and without their text, which is for the log.
type CommandError struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Status  int             `json:"status,omitempty"`  // HTTP status of the API that was asked, if one was
	Details json.RawMessage `json:"details,omitempty"` // what that API answered
}

func (e *CommandError) Error() string { return e.Code + ": " + e.Message }

// CommandErrorf makes a [CommandError].
func CommandErrorf(code, format string, args ...any) *CommandError {
	return &CommandError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// AsCommandError returns what a client sees of an error: itself if it is a [CommandError], else one that tells no more
// than its kind.
func AsCommandError(err error) *CommandError {
	var e *CommandError
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return CommandErrorf(CodeTimeout, "the command was not done in time; it may be done nevertheless")
	}
	return CommandErrorf(CodeFailed, "the command failed")
}

// A Commander takes commands of clients.
type Commander interface {
	// Handles reports whether any command is handled: otherwise a sink answers every one with [CodeUnavailable].
	Handles() bool
	// Do has a command done and returns its answer, JSON. The caller has been authenticated and may act on the instance.
	// Errors: see [AsCommandError].
	Do(ctx context.Context, c Command) (json.RawMessage, error)
}
