package rabbitmq

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/sink"
)

// goodbye is how long the broker may take to answer that a connection is closed.
const goodbye = 2 * time.Second

// A session is one connection to the broker, with the channels that are open on it and what has been declared over it. Its owner
// watches closed and blocks, and closes it; everything else may be called by any number of goroutines at once.
type session struct {
	conn   *amqp.Connection
	log    zerolog.Logger
	queues *Queues
	marks  bool               // what is made is marked with its instance
	closed chan *amqp.Error   // gets an error, or is closed, when the connection ends
	blocks chan amqp.Blocking // the broker's word that it takes nothing for now, and that it does again

	turn    chan struct{} // held by whoever declares or deletes
	control *amqp.Channel // for the one who has the turn; nil: to be opened

	requests sync.WaitGroup // see start
	mu       sync.Mutex
	// mu guards the fields below.
	gone     chan struct{} // closed by Close
	idle     []*channel
	declared map[address]bool
	blocked  string // why the broker takes nothing, "" if it does
}

func newSession(conn *amqp.Connection, c *Config, log zerolog.Logger) *session {
	return &session{
		conn: conn, log: log, queues: &c.Queues, marks: c.DeleteWithInstance,
		closed: conn.NotifyClose(make(chan *amqp.Error, 1)), blocks: conn.NotifyBlocked(make(chan amqp.Blocking, 8)),
		turn: make(chan struct{}, 1), gone: make(chan struct{}), declared: map[address]bool{},
	}
}

// start runs f, a request of the library, which knows no context and ends with the connection at the latest. Close waits for it.
func (s *session) start(f func() error) (done <-chan error) {
	answer := make(chan error, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.gone:
		answer <- amqp.ErrClosed
	default:
		s.requests.Go(func() { answer <- f() })
	}
	return answer
}

// call is start for a caller who waits until ctx ends.
func (s *session) call(ctx context.Context, f func() error) error {
	select {
	case err := <-s.start(f):
		if err != nil && s.conn.IsClosed() {
			return lost(err)
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publish sends messages in their order over a channel of their own, and returns what became of each.
func (s *session) publish(ctx context.Context, messages []message) []error {
	c, err := s.borrow(ctx)
	if err != nil {
		return fill(make([]error, len(messages)), fmt.Errorf("open a channel: %w", err))
	}
	defer s.giveBack(c)
	errs := make([]error, 0, len(messages))
	for part := range slices.Chunk(messages, maxBatch) {
		errs = append(errs, c.publish(ctx, part)...)
	}
	for i, err := range errs {
		if err != nil {
			s.forget(messages[i].address)
		}
	}
	return errs
}

// borrow returns a channel for the caller alone: an idle one or a new one.
func (s *session) borrow(ctx context.Context) (*channel, error) {
	for {
		if c := s.takeIdle(); c != nil {
			return c, nil
		}
		if err := s.call(ctx, s.open); err != nil {
			return nil, err
		}
	}
}

func (s *session) open() error {
	c, err := openChannel(s.conn)
	if err == nil {
		s.giveBack(c)
	}
	return err
}

func (s *session) takeIdle() *channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.idle) == 0 {
		return nil
	}
	c := s.idle[len(s.idle)-1]
	s.idle = s.idle[:len(s.idle)-1]
	return c
}

// giveBack makes a channel idle, unless the broker has closed it, or still owes answers to a caller that has gone.
func (s *session) giveBack(c *channel) {
	if c.IsClosed() {
		return
	}
	if c.owed {
		s.start(c.Close)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = append(s.idle, c)
}

// note keeps the broker's word about whether it takes messages.
func (s *session) note(b amqp.Blocking) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocked = ""
	if b.Active {
		s.blocked = b.Reason
	}
}

// takes returns an error while the broker takes nothing: what is published then stays in its socket.
func (s *session) takes() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blocked == "" {
		return nil
	}
	return sink.Unavailable(fmt.Errorf("RabbitMQ has blocked publishers: %s", s.blocked))
}

// Close ends the connection and returns when nothing of it is left running.
func (s *session) Close() {
	s.mu.Lock()
	close(s.gone)
	s.mu.Unlock()
	_ = s.conn.CloseDeadline(time.Now().Add(goodbye)) // closed whatever it says
	s.requests.Wait()
}

// lost marks an error that tells of the connection, not of an event.
func lost(err error) error {
	return sink.Unavailable(fmt.Errorf("the connection to RabbitMQ was lost: %w", err))
}

func fill(errs []error, err error) []error {
	for i := range errs {
		errs[i] = err
	}
	return errs
}
