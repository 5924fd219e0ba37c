package core

import (
	"context"
	"errors"
	"time"

	"github.com/evosink/evosink/core/instances"
)

// followInstances takes over what other nodes change of instances until stop is called.
func (h *Hub) followInstances(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for pause := 50 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 2*time.Second) {
			err := h.opts.Instances.Follow(ctx)
			if err == nil || errors.Is(err, instances.ErrClosed) {
				return
			}
			h.log.Error().Err(err).Stringer("again_in", pause).Msg("changes that other nodes make of instances are not seen")
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
