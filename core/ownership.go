package core

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
)

// An ownership holds this node's shards of a group: it joins the cluster, acquires free shards up to the node's fair share,
// renews their leases, and hands over what is above the share when nodes join. A shard's lanes are in the queue and its
// subscription runs while it is held, see [ownership.subscriber]: first the lease is acquired, then the queue takes over the
// lanes, then the subscription begins; and they end the other way round.
type ownership struct {
	leases   bus.Leases
	queue    *queue.Queue
	registry *instances.Registry
	group    string
	node     string
	shards   int
	log      zerolog.Logger
	first    chan error    // why the queue could not take over the first shards, once that was tried
	ended    chan struct{} // a shard has turned out to be another node's

	mu sync.Mutex
	// mu guards the fields below.
	held    map[int]*holding
	changed chan struct{} // closed and replaced when held changes
}

// A holding is a shard that this node has.
type holding struct {
	lease bus.Lease       // as it was acquired
	life  *life           // ends when the shard is another's, or may be
	feed  context.Context // of the subscription; ends with life, or before it when what is under way does not end in time
	cut   context.CancelFunc
	stop  chan struct{} // closed when nothing more is to be taken
	rest  chan struct{} // closed when the subscription has ended; replaced when one begins; guarded by ownership.mu
}

// A life is the time in which a shard may be worked on.
type life struct {
	context.Context
	end   context.CancelFunc
	until atomic.Pointer[time.Time] // nil if it does not end by itself
	timer *time.Timer               // set to until
}

// newLife returns a life that ends at a time, if that is not zero.
func newLife(until time.Time) *life {
	l := &life{}
	l.Context, l.end = context.WithCancel(context.Background())
	if !until.IsZero() {
		l.until.Store(&until)
		l.timer = time.AfterFunc(time.Until(until), l.end)
	}
	return l
}

// Err looks at the clock too: in a process that was frozen the timer comes late.
func (l *life) Err() error {
	if until := l.until.Load(); until != nil && !time.Now().Before(*until) {
		l.end()
	}
	return l.Context.Err()
}

// extend moves the end of a life that has not ended.
func (l *life) extend(until time.Time) {
	if l.timer != nil && l.Err() == nil {
		l.until.Store(&until)
		l.timer.Reset(time.Until(until))
	}
}

// finish ends a life.
func (l *life) finish() {
	l.end()
	if l.timer != nil {
		l.timer.Stop()
	}
}

func newOwnership(o Options, q *queue.Queue) *ownership {
	return &ownership{
		leases: o.Leases, queue: q, registry: o.Instances, group: dispatchGroup, node: o.Node, shards: o.Bus.Shards(),
		log:   o.Logger.With().Str("component", "ownership").Str("node", o.Node).Logger(),
		first: make(chan error, 1), ended: make(chan struct{}, 1),
		held: map[int]*holding{}, changed: make(chan struct{}),
	}
}

const (
	// handoverPause is the least time between two handovers of a node, so that a cluster is not all handovers when nodes join.
	handoverPause = time.Second
	// lookPause is how often a node looks where leases do not end.
	lookPause = 10 * time.Second
)

// run holds shards until ctx ends, then gives back those that it has.
func (o *ownership) run(ctx context.Context) {
	pause := lookPause
	if ttl := o.leases.TTL(); ttl > 0 {
		pause = ttl / 4 // a look that fails leaves time for two more
	}
	for first := true; first || ctx.Err() == nil; first = false {
		changed := o.leases.Changed()
		next := pause
		more, err := o.look(ctx)
		if more || err != nil { // what the look itself has changed does not count
			changed, next = nil, min(pause, handoverPause)
		}
		if first {
			o.first <- err
		}
		timer := time.NewTimer(next)
		select {
		case <-changed:
		case <-o.ended:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	o.leave(context.WithoutCancel(ctx))
}

// look renews what is held, and acquires or hands over what the fair share asks for. It reports whether more is to be handed
// over, and with an error that the queue could not take over what was acquired.
func (o *ownership) look(ctx context.Context) (more bool, err error) {
	alive, err := o.leases.Join(ctx, o.node)
	if err == nil {
		err = o.renew(ctx)
	}
	if err != nil {
		if ctx.Err() == nil {
			o.log.Warn().Err(err).Msg("leases of shards could not be renewed; shards are dropped when their leases end")
		}
		return false, nil
	}
	share := (o.shards + len(alive) - 1) / len(alive)
	mine := o.list()
	switch {
	case len(mine) < share:
		return false, o.acquire(ctx, share-len(mine))
	case len(mine) > share:
		o.handOver(ctx, mine[len(mine)-1])
		return len(mine)-1 > share, nil
	}
	return false, nil
}

// renew extends the leases held, and drops those that have ended.
func (o *ownership) renew(ctx context.Context) error {
	held := map[int]*holding{}
	var leases []bus.Lease
	for _, h := range o.list() {
		held[h.lease.Shard] = h
		leases = append(leases, h.lease)
	}
	if len(leases) == 0 {
		return nil
	}
	renewed, err := o.leases.Renew(ctx, leases...)
	if err != nil {
		return err
	}
	for _, l := range renewed {
		h := held[l.Shard]
		delete(held, l.Shard)
		h.life.extend(o.margin(l))
		if h.life.Err() != nil { // work on it had ended before the answer came
			o.log.Warn().Int("shard", l.Shard).Msg("the lease of a shard was renewed too late; it is given back")
			o.handOver(ctx, h)
		}
	}
	for shard, h := range held {
		o.log.Warn().Int("shard", shard).Int64("epoch", h.lease.Epoch).Msg("the lease of a shard has ended")
		o.remove(ctx, h)
	}
	return nil
}

// margin is until when a shard may be worked on: the last fifth of a lease is for what is under way to end.
func (o *ownership) margin(l bus.Lease) time.Time {
	if l.Until.IsZero() {
		return l.Until
	}
	return l.Until.Add(-o.leases.TTL() / 5)
}

// acquire takes at most n free shards: their leases, then what other nodes have changed of the instances until now, then
// their lanes, all at once.
func (o *ownership) acquire(ctx context.Context, n int) error {
	var acquired []*holding
	var owned []queue.Owned
	taken := map[int]bool{}
	all, err := o.leases.Held(ctx, o.group)
	for _, l := range all {
		taken[l.Shard] = true
	}
	for shard := 0; shard < o.shards && n > 0 && err == nil; shard++ {
		if taken[shard] {
			continue
		}
		var l bus.Lease
		var ok bool
		if l, ok, err = o.leases.Acquire(ctx, o.group, shard, o.node); ok {
			h := &holding{lease: l, life: newLife(o.margin(l)), stop: make(chan struct{}), rest: make(chan struct{})}
			h.feed, h.cut = context.WithCancel(h.life)
			close(h.rest)
			acquired, owned = append(acquired, h), append(owned, queue.Owned{Lease: l, Life: h.life})
			n--
		}
	}
	if err != nil && ctx.Err() == nil {
		o.log.Warn().Err(err).Msg("free shards could not be acquired")
	}
	if len(acquired) == 0 {
		return nil
	}
	reading, cancel := o.patience(ctx, 2)
	defer cancel()
	// What waits is delivered by the instances as they are now: one that the registry does not show yet was not deleted.
	if err = o.registry.Refresh(reading); err == nil {
		err = o.queue.Acquire(reading, owned...)
	}
	if err != nil {
		if ctx.Err() == nil {
			o.log.Warn().Err(err).Msg("the queue could not take over shards")
		}
		for _, h := range acquired {
			h.life.finish()
			o.giveBack(ctx, h)
		}
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range acquired {
		o.log.Debug().Int("shard", h.lease.Shard).Int64("epoch", h.lease.Epoch).Msg("a shard is held")
		o.held[h.lease.Shard] = h
	}
	o.change()
	return nil
}

// lost ends a shard that the store says is another node's.
func (o *ownership) lost(l bus.Lease) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if h := o.held[l.Shard]; h != nil && h.lease.Epoch == l.Epoch {
		h.life.end()
		select {
		case o.ended <- struct{}{}:
		default:
		}
	}
}

// patience bounds how long work on one shard may keep the renewal of the others, to a part of the lease time.
func (o *ownership) patience(ctx context.Context, part time.Duration) (context.Context, context.CancelFunc) {
	if ttl := o.leases.TTL(); ttl > 0 {
		return context.WithTimeout(ctx, ttl/part)
	}
	return context.WithTimeout(ctx, lookPause)
}

// handOver lets what is under way in a shard end, cuts it off if it takes too long, and gives the lease back: first what is
// on its way into the queue, then what the queue delivers.
func (o *ownership) handOver(ctx context.Context, h *holding) {
	close(h.stop)
	o.mu.Lock()
	rest := h.rest
	o.mu.Unlock()
	patience, cancel := o.patience(ctx, 8)
	defer cancel()
	select {
	case <-rest:
	case <-h.life.Done(): // its time is over
	case <-patience.Done():
		h.cut()
	}
	delivering, cancel := o.patience(ctx, 4)
	defer cancel()
	if err := o.queue.Release(delivering, h.lease.Shard); err != nil {
		o.log.Warn().Err(err).Msg("deliveries come again from the shard's next owner")
	}
	o.remove(ctx, h)
	o.giveBack(ctx, h)
}

// giveBack releases the lease of a shard, also when ctx has ended; the engine may take a moment for that.
func (o *ownership) giveBack(ctx context.Context, h *holding) {
	ctx, cancel := o.patience(context.WithoutCancel(ctx), 8)
	defer cancel()
	if err := o.leases.Release(ctx, h.lease); err != nil {
		o.log.Warn().Err(err).Int("shard", h.lease.Shard).Msg("a shard could not be given back; its lease ends by itself")
	}
}

// remove cuts off the work on a shard that is not, or not any more, this node's, and waits until it has ended.
func (o *ownership) remove(ctx context.Context, h *holding) {
	h.life.finish()
	o.queue.Drop(h.lease.Shard)
	o.mu.Lock()
	rest := h.rest
	delete(o.held, h.lease.Shard)
	o.change()
	o.mu.Unlock()
	patience, cancel := o.patience(ctx, 8)
	defer cancel()
	select {
	case <-rest:
	case <-patience.Done():
	}
}

// leave gives everything back. The subscriptions have ended before.
func (o *ownership) leave(ctx context.Context) {
	if ttl := o.leases.TTL(); ttl > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, ttl)
		defer cancel()
	}
	for _, h := range o.list() {
		if ctx.Err() == nil {
			o.handOver(ctx, h)
		} else {
			o.remove(ctx, h) // the engine does not answer: the lease ends by itself
		}
	}
	if err := o.leases.Leave(ctx, o.node); err != nil {
		o.log.Warn().Err(err).Msg("the node could not leave; it is taken for dead when its time is over")
	}
}

// list returns what is held, by shard.
func (o *ownership) list() (out []*holding) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for shard := range o.shards {
		if h := o.held[shard]; h != nil {
			out = append(out, h)
		}
	}
	return out
}

func (o *ownership) change() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// begin notes that a subscription works on a shard from now on, until done is called, and returns its holding. If the shard is
// not held it returns what is closed when that may have changed.
func (o *ownership) begin(shard int) (h *holding, done func(), changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h = o.held[shard]
	if h == nil || h.life.Err() != nil || closed(h.stop) {
		return nil, nil, o.changed
	}
	rest := make(chan struct{})
	h.rest = rest
	return h, func() { close(rest) }, nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// subscriber returns a subscriber of a shard whose subscription hands over batches of another one while the shard is held.
func (o *ownership) subscriber(shard int, from bus.BatchSubscriber) bus.BatchSubscriber {
	return &heldSubscriber{owner: o, shard: shard, from: from}
}

type heldSubscriber struct {
	owner *ownership
	shard int
	from  bus.BatchSubscriber
}

// Subscribe implements [bus.BatchSubscriber]. If the shard is held, it returns when the engine knows the subscription.
func (s *heldSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *bus.Batch, error) {
	out := make(chan *bus.Batch)
	h, done, changed := s.owner.begin(s.shard)
	var f *feed
	if h != nil {
		var err error
		if f, err = s.open(ctx, h, topic); err != nil {
			done()
			return nil, err
		}
	}
	go func() { // ends with ctx
		defer close(out)
		for {
			if h != nil {
				if f != nil {
					f.serve(out)
				}
				done()
				changed = nil
			}
			if changed != nil {
				select {
				case <-changed:
				case <-ctx.Done():
				}
			}
			if ctx.Err() != nil {
				return
			}
			if h, done, changed = s.owner.begin(s.shard); h != nil {
				f = s.retry(ctx, h, topic)
			}
		}
	}()
	return out, nil
}

// Close implements [bus.BatchSubscriber].
func (s *heldSubscriber) Close() error { return s.from.Close() }

// A feed is a subscription that lasts while a shard is held.
type feed struct {
	ctx    context.Context // ends with the holding's feed, or the subscriber's
	cancel context.CancelFunc
	stop   <-chan struct{}
	in     <-chan *bus.Batch
}

// open subscribes while a shard is held. Its feed is nil after an error.
func (s *heldSubscriber) open(ctx context.Context, h *holding, topic string) (*feed, error) {
	f := &feed{stop: h.stop}
	ctx, cancel := context.WithCancel(ctx)
	unwatch := context.AfterFunc(h.feed, cancel)
	f.ctx, f.cancel = ctx, func() {
		unwatch()
		cancel()
	}
	var err error
	if f.in, err = s.from.Subscribe(ctx, topic); err != nil {
		f.cancel()
		return nil, err
	}
	return f, nil
}

// retry opens a feed as often as it takes; nil when ctx or the holding's feed ended first.
func (s *heldSubscriber) retry(ctx context.Context, h *holding, topic string) (f *feed) {
	trying, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.feed, cancel)()
	bus.Retry(trying, func() bool {
		var err error
		f, err = s.open(ctx, h, topic)
		return err == nil
	})
	return f
}

// serve hands batches over until the shard is not held any more, and what was handed over is answered or cut off.
func (f *feed) serve(out chan<- *bus.Batch) {
	defer f.cancel()
	var under []*message.Message
	for open := true; open; {
		select {
		case b, ok := <-f.in:
			if !ok {
				return
			}
			select {
			case out <- b:
				under = append(unanswered(under), b.Messages[0])
			case <-f.ctx.Done():
			}
		case <-f.stop:
			open = false
		}
	}
	for _, m := range under {
		select {
		case <-m.Acked():
		case <-m.Nacked():
		case <-f.ctx.Done():
		}
	}
	f.cancel()
	for range f.in { // until the engine has ended the subscription
	}
}

// unanswered returns those of some messages that are without an answer; the engine bounds how many there are.
func unanswered(messages []*message.Message) []*message.Message {
	out := messages[:0]
	for _, m := range messages {
		if !closed(m.Acked()) && !closed(m.Nacked()) {
			out = append(out, m)
		}
	}
	return out
}
