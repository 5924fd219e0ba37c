package pusher

import (
	"context"
	"errors"
	"sync"
)

// maxBatch is how many events Pusher takes in one request.
const maxBatch = 10

var errBehind = errors.New("an event before it, on the same channel, was not taken")

// A parcel is a message and where its answer belongs.
type parcel struct {
	*message
	err *error
}

// send triggers events, those of an app in order and apps beside each other, and returns what became of each.
func (s *Sink) send(ctx context.Context, messages []*message) []error {
	errs := make([]error, len(messages))
	byApp := map[app][]parcel{}
	for i, m := range messages {
		byApp[m.app] = append(byApp[m.app], parcel{m, &errs[i]})
	}
	var wait sync.WaitGroup
	for a, parcels := range byApp {
		wait.Go(func() { s.trigger(ctx, a, parcels) })
	}
	wait.Wait()
	return errs
}

// trigger triggers events on one app, request by request. It stops where a request fails and no single event is to blame.
func (s *Sink) trigger(ctx context.Context, a app, rest []parcel) {
	for len(rest) > 0 {
		n := min(maxBatch, len(rest))
		now := rest[:n]
		rest = rest[n:]
		err := s.request(ctx, a, now)
		switch {
		case err == nil:
		case !errors.Is(err, errRefused):
			answer(now, err)
			answer(rest, err)
			return
		case n == 1:
			answer(now, err)
		default:
			s.oneByOne(ctx, a, now)
		}
		rest = sift(rest, now)
	}
}

func (s *Sink) request(ctx context.Context, a app, now []parcel) error {
	if len(now) == 1 {
		return s.post(ctx, a, "/events", now[0].appendTrigger(nil))
	}
	return s.post(ctx, a, "/batch_events", appendBatch(nil, now))
}

// oneByOne finds the events for which a request was refused.
func (s *Sink) oneByOne(ctx context.Context, a app, now []parcel) {
	for i, p := range now {
		if len(sift(now[i:i+1], now[:i])) == 1 {
			*p.err = s.request(ctx, a, now[i:i+1])
		}
	}
}

// sift answers those of rest that are behind what has failed of sent, and returns the others.
func sift(rest, sent []parcel) (out []parcel) {
	failed := map[string]bool{}
	for _, p := range sent {
		if *p.err != nil {
			failed[p.channel] = true
		}
	}
	for _, p := range rest {
		if failed[p.channel] {
			*p.err = errBehind
			continue
		}
		out = append(out, p)
	}
	return out
}

func answer(parcels []parcel, err error) {
	for _, p := range parcels {
		*p.err = err
	}
}
