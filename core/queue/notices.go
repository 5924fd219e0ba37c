package queue

import (
	"cmp"
	"context"
	"regexp"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/sink"
)

// Notices tell operators in the log how targets fare: the first failure, down, back, dead letters. They are gathered
// while a lock of a scheduler is held and written by a goroutine of their own, because a log may be slow. However
// many targets there are and whatever they do, memory and lines are bounded: a target has one line of a kind in a
// minute, tenants' targets together linesPerSecond, and the operator's as many. What was not written is counted, and
// a line says how much that was.
type notices struct {
	wake chan struct{} // there is something to write

	mu sync.Mutex
	// mu guards the fields below.
	lines   []notice                // to be written
	recent  map[noticeKey]time.Time // when a line was written last; those of the last minute
	budgets [2]budget               // of the operator's targets, and of tenants'
	sums    map[noticeKey]*sum      // dead letters and dropped events since the last line about them
	leftOut map[noticeKey]int       // lines that were not written, by sink and kind
	ticking bool                    // the goroutine comes by again soon without being woken
}

const (
	linesPerSecond = 10
	lineEvery      = time.Minute // for a target and kind
	stillDownEvery = time.Hour
	noticeTick     = 10 * time.Second // how often sums are looked at
	maxSums        = 1024             // targets with a sum of their own; those of other targets are counted by sink
	maxLines       = 1000             // that a slow log has not taken yet
	maxErrorText   = 300              // bytes of an error in a line
)

// noticeKind is what a notice is about, in the words of the log.
type noticeKind string

const (
	noticeFailed    noticeKind = "delivery failed; it is tried again"
	noticeDown      noticeKind = "target down; its events wait"
	noticeStillDown noticeKind = "target still down; its events wait"
	noticeBack      noticeKind = "target back; its events go on"
	noticePaused    noticeKind = "target paused because a delivery was exhausted; its events wait until it is resumed"
	noticeDead      noticeKind = "dead letters"
	noticeDropped   noticeKind = "events dropped to make room"
	noticeFull      noticeKind = "no room in the queue; a shard waits"
	noticeUnread    noticeKind = "waiting events cannot be read; trying again"
)

// level of the lines of a kind.
func (k noticeKind) level() zerolog.Level {
	switch k {
	case noticeFailed, noticeBack, noticeDropped:
		return zerolog.InfoLevel
	case noticeUnread:
		return zerolog.ErrorLevel
	}
	return zerolog.WarnLevel
}

// noticeKey says what a line is about. Target and Instance are empty in sums.
type noticeKey struct {
	sink     string
	target   sink.Target
	instance string // of an instance's own target
	kind     noticeKind
	reason   Reason // of dead letters
}

// A notice is a line of the log.
type notice struct {
	noticeKey
	err     string
	of      string        // the instance of the event, where the target is not its own
	event   string        // id
	down    time.Duration // how long it was
	waiting int           // deliveries for the target
	count   int           // of dead letters or dropped events
	others  bool          // a sum over targets that have no line of their own
}

type sum struct {
	count int
	err   string    // of the last one
	told  time.Time // when the last line was written; zero if there was none
}

func newNotices() *notices {
	return &notices{
		wake: make(chan struct{}, 1), recent: map[noticeKey]time.Time{},
		sums: map[noticeKey]*sum{}, leftOut: map[noticeKey]int{},
	}
}

// keyOf returns the key of a notice about a lane's target: all instances share one that is global.
func keyOf(l LaneKey, scope sink.Scope, kind noticeKind) noticeKey {
	k := noticeKey{sink: l.Sink, target: l.Target, kind: kind}
	if scope == sink.Instance {
		k.instance = l.Instance
	}
	return k
}

func (l *lane) keyOf(kind noticeKind) noticeKey { return keyOf(l.LaneKey, l.scope, kind) }

// add writes a line, or counts it if there are too many. more, if not nil, fills in what costs something to know.
func (n *notices) add(line notice, more func(*notice)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); len(n.lines) >= maxLines || !n.admit(line.noticeKey, now) {
		n.leftOut[noticeKey{sink: line.sink, kind: line.kind}]++
		n.wakeUp()
		return
	}
	if more != nil {
		more(&line)
	}
	n.lines = append(n.lines, line)
	n.wakeUp()
}

// admit reports whether a line may be written now, and counts it.
func (n *notices) admit(k noticeKey, now time.Time) bool {
	if last, ok := n.recent[k]; ok && now.Sub(last) < lineEvery {
		return false
	}
	b := &n.budgets[0]
	if k.instance != "" {
		b = &n.budgets[1]
	}
	if !b.take(now) {
		return false
	}
	n.recent[k] = now
	return true
}

// dead counts deliveries that have become dead letters.
func (n *notices) dead(k noticeKey, why Reason, count int, err string) {
	k.reason = why
	n.count(k, count, err)
}

// count adds to a sum.
func (n *notices) count(k noticeKey, count int, err string) {
	if count == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sums[k] == nil && len(n.sums) >= maxSums {
		k.target, k.instance = "", ""
	}
	if d := n.gather(k, count, err); d.told.IsZero() {
		n.wakeUp()
	}
}

func (n *notices) gather(k noticeKey, count int, err string) *sum {
	d := n.sums[k]
	if d == nil {
		d = &sum{}
		n.sums[k] = d
	}
	d.count += count
	d.err = err
	return d
}

func (n *notices) wakeUp() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run writes notices until ctx ends, and then what is left.
func (n *notices) run(ctx context.Context, log zerolog.Logger) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-n.wake:
		case <-timer.C:
			n.mu.Lock()
			n.ticking = false
			n.mu.Unlock()
		case <-ctx.Done():
			n.write(log, true)
			return
		}
		if n.write(log, false) {
			timer.Reset(noticeTick)
		}
	}
}

// write writes what is due, everything if this is the end. It reports whether it has to be called again after a tick.
func (n *notices) write(log zerolog.Logger, end bool) (tick bool) {
	n.mu.Lock()
	now := time.Now()
	lines := append(n.lines, n.dueSums(now, end)...)
	n.lines = nil
	for k, last := range n.recent {
		if now.Sub(last) >= lineEvery {
			delete(n.recent, k)
		}
	}
	left := map[noticeKey]int{}
	if !n.ticking || end { // else with the next tick
		left, n.leftOut = n.leftOut, left
	}
	again := len(n.sums) > 0 || len(n.recent) > 0 || len(n.leftOut) > 0
	tick = again && !n.ticking
	n.ticking = n.ticking || tick
	n.mu.Unlock()

	for _, line := range lines {
		line.write(log)
	}
	for k, count := range left {
		log.WithLevel(k.kind.level()).Str("sink", k.sink).Int("lines", count).Str("about", string(k.kind)).
			Msg("more of the same was left out of the log")
	}
	return tick
}

// dueSums returns a line for each sum of dead letters that had none within the last minute. Sums for which there is no
// room are added to that of the sink's other targets.
func (n *notices) dueSums(now time.Time, end bool) (lines []notice) {
	due := func(k noticeKey, d *sum) bool {
		switch {
		case !end && !d.told.IsZero() && now.Sub(d.told) < lineEvery:
			return false
		case d.count == 0: // for a minute
			delete(n.sums, k)
			return false
		}
		return true
	}
	tell := func(k noticeKey, d *sum) {
		lines = append(lines, notice{noticeKey: k, count: d.count, err: d.err, others: k.target == ""})
		d.count, d.told = 0, now
	}
	for k, d := range n.sums {
		if k.target == "" || !due(k, d) {
			continue
		}
		if end && len(lines) < linesPerSecond || !end && n.admit(k, now) {
			tell(k, d)
			continue
		}
		delete(n.sums, k)
		k.target, k.instance = "", ""
		n.gather(k, d.count, d.err)
	}
	for k, d := range n.sums {
		if k.target == "" && due(k, d) {
			tell(k, d)
		}
	}
	return lines
}

func (l notice) write(log zerolog.Logger) {
	e := log.WithLevel(l.kind.level()).Str("sink", l.sink)
	switch {
	case l.others:
		e.Str("target", "others")
	case l.target != "":
		e.Str("target", redact(string(l.target)))
	}
	if instance := cmp.Or(l.instance, l.of); instance != "" {
		e.Str("instance", instance)
	}
	if l.event != "" {
		e.Str("id", l.event)
	}
	if l.reason != "" {
		e.Str("reason", string(l.reason))
	}
	if l.count > 0 {
		e.Int("count", l.count)
	}
	switch l.kind {
	case noticeStillDown, noticeBack:
		e.Stringer("down", l.down.Round(time.Millisecond)).Int("waiting", l.waiting)
	case noticeDown:
		e.Int("waiting", l.waiting)
	}
	if l.err != "" {
		e.Str("error", redact(l.err))
	}
	e.Msg(string(l.kind))
}

// A budget is of lines in a second.
type budget struct {
	second time.Time
	taken  int
}

func (b *budget) take(now time.Time) bool {
	if now.Sub(b.second) >= time.Second {
		b.second, b.taken = now, 0
	}
	b.taken++
	return b.taken <= linesPerSecond
}

var (
	addressForm = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/?#\s"']*@)?([^/?#\s"'@]*)(?:[/?#][^\s"']*)?`)
	userForm    = regexp.MustCompile(`[^\s/:@"'=,;]+:[^\s/@"']+@`)
	secretForm  = regexp.MustCompile(`(?i)\b([a-z_-]*(?:key|token|secret|password|passwd|signature|authorization))` +
		`(["']?\s*[:=]\s*)(?:(?:bearer|basic)\s+)?["']?[^\s"'&,;]+`)
)

// redact takes out of a text what may be secret: of addresses all but scheme and host, and what stands behind the name
// of a secret.
func redact(s string) string {
	s = addressForm.ReplaceAllString(s, "$1$2")
	s = userForm.ReplaceAllString(s, "***@")
	s = secretForm.ReplaceAllString(s, "$1$2***")
	return clipTo(s, maxErrorText)
}
