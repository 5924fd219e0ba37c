package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/evosink/evosink/core/queue"
)

// replays are the jobs that put dead letters back, those under way and the last ones that have ended. They live as long
// as the process: a restart ends them, and leaves what was not put back among the dead letters.
type replays struct {
	mu sync.Mutex
	// mu guards the field below.
	all []*replay // the oldest first
}

const (
	maxReplays     = 4  // under way at once
	maxKeptReplays = 50 // in all
	maxFollowers   = 16 // of one
)

// add takes a job. It is under way from now on; the caller runs it and calls end. Too many of them are 429.
func (rs *replays) add(j *replay) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	running, oldest := 0, -1
	for i, other := range rs.all {
		if other.running() {
			running++
		} else if oldest < 0 {
			oldest = i
		}
	}
	if running >= maxReplays {
		return tooMany(fmt.Sprintf("%d replays are under way, at most %d may be. GET /admin/replays lists them; wait for one to end, or cancel one", running, maxReplays))
	}
	if len(rs.all) >= maxKeptReplays {
		rs.all = append(rs.all[:oldest], rs.all[oldest+1:]...)
	}
	rs.all = append(rs.all, j)
	return nil
}

// get returns a job by its id.
func (rs *replays) get(id string) (*replay, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, j := range rs.all {
		if j.id == id {
			return j, nil
		}
	}
	return nil, notFound(fmt.Sprintf("There is no replay %.40s (any more). The last %d are kept, and a restart of the server ends them: "+
		"what was not put back by then is still among the dead letters", id, maxKeptReplays))
}

// rows returns all jobs, the newest first.
func (rs *replays) rows() []replayRow {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	out := make([]replayRow, 0, len(rs.all))
	for i := len(rs.all) - 1; i >= 0; i-- {
		out = append(out, rs.all[i].row())
	}
	return out
}

// replayed is how far a replay has come. The last line of one has finished or an error.
type replayed struct {
	Done     int     `json:"done"`
	Total    int     `json:"total"`
	Finished bool    `json:"finished"`
	Missing  []int64 `json:"missing,omitempty"` // ids that no dead letter has (any more)
	Error    string  `json:"error,omitempty"`   // why it did not finish; what is done stays done
}

// A replay is one job.
type replay struct {
	id        string
	ids       []int64 // these; nil means filter
	filter    queue.DeadLetterFilter
	rate      int // letters per second; 0 is the configured rate
	started   time.Time
	done      chan struct{} // closed when it has ended
	cancelled chan struct{} // closed to end it early

	mu sync.Mutex
	// mu guards the fields below.
	progress  replayed
	ended     time.Time
	err       error
	stopping  bool                       // cancelled is closed
	followers map[chan replayed]struct{} // nil when it has ended
}

// newReplay makes a job of ids, or of filter if there are none.
func newReplay(ids []int64, filter queue.DeadLetterFilter, rate int) *replay {
	var id [4]byte
	rand.Read(id[:]) // never fails: crypto/rand crashes the process instead
	return &replay{
		id: hex.EncodeToString(id[:]), ids: ids, filter: filter, rate: rate, started: time.Now(),
		done: make(chan struct{}), cancelled: make(chan struct{}), followers: map[chan replayed]struct{}{},
	}
}

func (j *replay) running() bool {
	select {
	case <-j.done:
		return false
	default:
		return true
	}
}

// step notes progress, and tells those that follow. One that reads too slowly misses steps.
func (j *replay) step(done, total int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.progress.Done, j.progress.Total = done, total
	for f := range j.followers {
		select {
		case f <- j.progress:
		default:
		}
	}
}

// end notes the outcome.
func (j *replay) end(last replayed, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.progress, j.err, j.ended = last, err, time.Now()
	for f := range j.followers {
		close(f)
	}
	j.followers = nil
	close(j.done)
}

// follow returns the steps from now on, in a channel that is closed when the job has ended. Too many at once are 429.
func (j *replay) follow() (steps <-chan replayed, stop func(), err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := make(chan replayed, 64)
	switch {
	case j.followers == nil:
		close(f)
		return f, func() {}, nil
	case len(j.followers) >= maxFollowers:
		return nil, nil, tooMany(fmt.Sprintf("%d requests follow this replay already", maxFollowers))
	case j.progress.Total > 0:
		f <- j.progress
	}
	j.followers[f] = struct{}{}
	return f, func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.followers, f)
	}, nil
}

// stream writes a line for each step, and reports whether the job has ended, and not the request first.
func (j *replay) stream(ctx context.Context, to *lines, steps <-chan replayed) (ended bool) {
	for {
		select {
		case step, more := <-steps:
			if !more {
				return true
			}
			if to.write(step) != nil {
				return false // the client hung up; the job goes on
			}
		case <-ctx.Done():
			return false
		}
	}
}

// result returns how far it came, and its error.
func (j *replay) result() (replayed, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.progress, j.err
}

// cancel ends it early, and reports whether this call did.
func (j *replay) cancel() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stopping || j.followers == nil {
		return false
	}
	j.stopping = true
	close(j.cancelled)
	return true
}

// replayRow is a replay as the API shows it.
type replayRow struct {
	ID    string `json:"id"`
	State string `json:"state"` // "running", "finished", "cancelled" or "failed"
	replayed
	Rate     int       `json:"rate,omitempty"` // letters per second, if it is not the configured rate
	Started  timestamp `json:"started"`
	Ended    timestamp `json:"ended,omitzero"`
	IDs      int       `json:"ids,omitempty"` // how many ids were asked for
	Sink     string    `json:"sink,omitempty"`
	Target   string    `json:"target,omitempty"`
	Instance string    `json:"instance,omitempty"`
	Event    string    `json:"event,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Match    string    `json:"match,omitempty"` // part of the last error that was asked for
}

func (j *replay) row() replayRow {
	j.mu.Lock()
	defer j.mu.Unlock()
	row := replayRow{
		ID: j.id, State: "running", replayed: j.progress, Rate: j.rate, Started: timestamp(j.started), Ended: timestamp(j.ended), IDs: len(j.ids),
		Sink: j.filter.Sink, Target: string(j.filter.Target), Instance: j.filter.Instance,
		Event: j.filter.EventID, Reason: string(j.filter.Reason), Match: j.filter.Error,
	}
	switch {
	case j.followers != nil:
	case j.err == nil:
		row.State = "finished"
	case j.stopping:
		row.State = "cancelled"
	default:
		row.State = "failed"
	}
	return row
}
