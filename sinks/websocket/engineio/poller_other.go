//go:build !linux

package engineio

import (
	"errors"

	"github.com/evosink/evosink/sinks/websocket/internal/tasks"
)

// A poller exists on Linux only; elsewhere every connection keeps its reader.
type poller struct{}

func newPoller(*tasks.Group) (*poller, error) { return nil, errors.ErrUnsupported }

func (*poller) add(*conn) error { return errors.ErrUnsupported }
func (*poller) arm(*conn) error { return errors.ErrUnsupported }
func (*poller) remove(*conn)    {}
func (*poller) close()          {}
