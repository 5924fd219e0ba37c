package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
)

// A problem is an answer that is an error.
type problem struct {
	status     int
	message    any // what stands under response.message: a string, a list of strings, or a list in a list
	retryAfter time.Duration
	cause      error // what the log says and the caller does not get to see; may be nil
}

// Error is for logs and tests.
func (p *problem) Error() string {
	if p.cause != nil {
		return p.cause.Error()
	}
	return fmt.Sprint(p.message)
}

// body has the shape of Evolution API's errors: status, error, and response with a message.
func (p *problem) body() any {
	type response struct {
		Message any `json:"message"`
	}
	return struct {
		Status   int      `json:"status"`
		Error    string   `json:"error"`
		Response response `json:"response"`
	}{p.status, http.StatusText(p.status), response{p.message}}
}

func badRequest(messages ...string) *problem {
	return &problem{status: http.StatusBadRequest, message: messages}
}

func forbidden(messages ...string) *problem {
	return &problem{status: http.StatusForbidden, message: messages}
}

// violations is a bad request in the form of schema violations: a list in a list.
func violations(messages []string) *problem {
	return &problem{status: http.StatusBadRequest, message: [][]string{messages}}
}

func unauthorized() *problem {
	return &problem{status: http.StatusUnauthorized, message: "Unauthorized"}
}

func notFound(message string) *problem {
	return &problem{status: http.StatusNotFound, message: []string{message}}
}

func noInstance(name string) *problem {
	return notFound(fmt.Sprintf(`The "%s" instance does not exist`, name))
}

func tooLarge(format string, args ...any) *problem {
	return &problem{status: http.StatusRequestEntityTooLarge, message: []string{fmt.Sprintf(format, args...)}}
}

func tooMany(message string) *problem {
	return &problem{status: http.StatusTooManyRequests, message: []string{message}, retryAfter: time.Second}
}

// problemOf turns an error of the core into an answer. What it does not know is the engine's failure.
func problemOf(err error) *problem {
	var p *problem
	var system errSystem
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &system):
		return forbidden(system.Error())
	case errors.Is(err, event.ErrInvalid):
		return badRequest(reasons(err)...)
	case errors.Is(err, instances.ErrUnknown):
		return notFound("The instance does not exist; create it with POST /instance/create")
	case errors.Is(err, instances.ErrToken), errors.Is(err, instances.ErrExists):
		return badRequest(err.Error())
	case errors.Is(err, instances.ErrConflict):
		return &problem{status: http.StatusConflict, message: []string{err.Error() + "; try again"}}
	case errors.Is(err, queue.ErrNoDeadLetter):
		return notFound("There is no such dead letter (any more)")
	case errors.Is(err, queue.ErrClosed):
		return &problem{
			status: http.StatusServiceUnavailable, retryAfter: 5 * time.Second, cause: err,
			message: []string{"The queue does not run: the server is starting or shutting down"},
		}
	case errors.Is(err, queue.ErrFull):
		return tooMany(err.Error())
	case errors.Is(err, bus.ErrTooLarge):
		return tooLarge("%s", bus.ErrTooLarge)
	case errors.Is(err, bus.ErrOverloaded):
		return tooMany("The engine does not take events fast enough (events.timeout); nothing is lost if you try again")
	}
	return &problem{
		status: http.StatusServiceUnavailable, retryAfter: 5 * time.Second, cause: err,
		message: []string{"The engine failed and has not confirmed the request; try again"},
	}
}

// reasons splits an error of [event.Event.Validate] into its lines.
func reasons(err error) []string {
	return strings.Split(strings.TrimPrefix(err.Error(), event.ErrInvalid.Error()+": "), "\n")
}
