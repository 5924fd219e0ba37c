package exec

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"

	"github.com/evosink/evosink/core/sink"
)

// How much waits for a plugin of mode live: events of one instance are always in the same lane.
const (
	laneCount  = 16
	laneLength = 256
)

// errFull is the outcome of an event that a live plugin was too slow for.
var errFull = errors.New("the plugin is too slow: the event was dropped")

// lanes make the deliveries of a plugin of mode live. Putting one in never blocks: a lane that is full loses it. Each lane has a
// goroutine, which keeps the order of its instances.
type lanes struct {
	sink *Sink
	seed maphash.Seed
	all  [laneCount]chan *sink.Delivery
	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	closing sync.Once
}

func newLanes(s *Sink) *lanes {
	l := &lanes{sink: s, seed: maphash.MakeSeed()}
	l.life, l.end = context.WithCancel(context.Background())
	for i := range l.all {
		l.all[i] = make(chan *sink.Delivery, laneLength)
	}
	return l
}

func (l *lanes) start() {
	for _, lane := range l.all {
		l.work.Go(func() {
			for d := range lane {
				if err := l.sink.deliver(l.life, d); err != nil {
					l.sink.log.Debug().Err(err).Str("event", d.Event.ID).Msg("event was not delivered")
				}
			}
		})
	}
}

func (l *lanes) put(d *sink.Delivery) error {
	select {
	case l.all[maphash.String(l.seed, d.Event.Instance)%laneCount] <- d:
		return nil
	default:
		return errFull
	}
}

// close lets the lanes run empty until ctx ends. Nothing is put in any more.
func (l *lanes) close(ctx context.Context) {
	_ = l.sink.running.Wait(context.Background()) // puts, which do not block
	l.closing.Do(func() {
		for _, lane := range l.all {
			close(lane)
		}
	})
	defer context.AfterFunc(ctx, l.end)()
	l.work.Wait()
	l.end()
}
