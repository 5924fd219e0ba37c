package rabbitmq

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// maxDeclared bounds what a session remembers, that of deleted instances included; all is declared again then.
const maxDeclared = 1 << 17

// ensure makes sure that the exchange, the queue and the binding of a exist. It asks the broker once in a session, and
// again after forget, over a channel of its own: the broker closes a channel on which it refuses something.
// owner is the id of the instance that has it, "" if it is a global one.
func (s *session) ensure(ctx context.Context, a address, owner string) error {
	if s.has(a) {
		return nil
	}
	return s.inTurn(ctx, func() error {
		if s.has(a) {
			return nil
		}
		if err := s.declare(a, owner); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.declared) > maxDeclared {
			clear(s.declared)
		}
		s.declared[a] = true
		return nil
	})
}

// inTurn runs f while nothing else is declared or deleted.
func (s *session) inTurn(ctx context.Context, f func() error) error {
	select {
	case s.turn <- struct{}{}:
	case <-s.gone:
		return lost(amqp.ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.call(ctx, func() error {
		defer func() { <-s.turn }()
		return f()
	})
}

func (s *session) has(a address) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.declared[a]
}

// forget lets the next event for a declare it again.
func (s *session) forget(a address) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.declared, a)
}

// declare creates what a names. It runs within inTurn.
func (s *session) declare(a address, owner string) error {
	if err := s.mark(a, owner); err != nil {
		return err
	}
	err := s.ask(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(a.exchange, amqp.ExchangeTopic, true, false, false, false, nil)
	})
	if code(err) == amqp.PreconditionFailed {
		return fmt.Errorf("exchange %q exists and is no durable topic exchange: delete it, or let evosink use another; "+
			"RabbitMQ says %w", a.exchange, err)
	}
	if err != nil {
		return undeclared("exchange", a.exchange, err)
	}
	err = s.ask(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(a.queue, true, false, false, false, s.queues.arguments())
		return err
	})
	if code(err) == amqp.PreconditionFailed {
		s.log.Warn().Str("queue", a.queue).Str("reason", err.Error()).
			Msg("a queue exists with other properties than configured; it is used as it is")
	} else if err != nil {
		return undeclared("queue", a.queue, err)
	}
	err = s.ask(func(ch *amqp.Channel) error { return ch.QueueBind(a.queue, a.key, a.exchange, false, nil) })
	if err != nil {
		return undeclared("binding of queue", a.queue, err)
	}
	return nil
}

// ask makes a request on the control channel. A refusal costs that channel, and only that.
func (s *session) ask(request func(*amqp.Channel) error) (err error) {
	if s.control == nil || s.control.IsClosed() {
		if s.control, err = s.conn.Channel(); err != nil {
			return err
		}
	}
	return request(s.control)
}

func undeclared(what, name string, err error) error {
	if code(err) == amqp.AccessRefused {
		return fmt.Errorf("the user may not declare %s %q: grant it the right to configure, or set declare to false and "+
			"create it yourself; RabbitMQ says %w", what, name, err)
	}
	return fmt.Errorf("declare %s %q: %w", what, name, err)
}

// code returns the reply code of AMQP that an error carries, 0 if none.
func code(err error) int {
	var e *amqp.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

// mark marks the exchange and the queue of a with their owner, unless they exist: then they were made by something
// else, or have their mark. The mark is made first, so that a crash between leaves none without one.
func (s *session) mark(a address, owner string) error {
	if owner == "" || !s.marks {
		return nil
	}
	exists := map[string]func(*amqp.Channel) error{
		a.exchange: func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(a.exchange, amqp.ExchangeTopic, true, false, false, false, nil)
		},
		a.queue: func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive(a.queue, true, false, false, false, nil)
			return err
		},
	}
	for name, passive := range exists {
		err := s.ask(passive)
		if code(err) != amqp.NotFound {
			if err != nil && code(err) != amqp.PreconditionFailed && code(err) != amqp.ResourceLocked {
				return undeclared("queue or exchange", name, err)
			}
			continue
		}
		mark := markOf(owner, name)
		err = s.ask(func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare(mark, amqp.ExchangeFanout, true, false, true, false, nil)
		})
		if err != nil {
			return undeclared("exchange", mark, err)
		}
	}
	return nil
}

// markOf returns the exchange that says that an exchange or a queue was made for an instance.
func markOf(owner, name string) string {
	sum := sha256.Sum256([]byte(name))
	return "evosink/" + owner + "/" + hex.EncodeToString(sum[:])
}

// marked reports whether a name has its owner's mark.
func (s *session) marked(owner, name string) (bool, error) {
	mark := markOf(owner, name)
	err := s.ask(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive(mark, amqp.ExchangeFanout, true, false, true, false, nil)
	})
	if code(err) == amqp.NotFound {
		return false, nil
	}
	return err == nil, err
}

// remove deletes those of the exchange and the queues that have their owner's mark, and the marks.
func (s *session) remove(ctx context.Context, owner, exchange string, queues []string) error {
	return s.inTurn(ctx, func() error {
		defer s.forgetExchange(exchange)
		for _, queue := range queues {
			err := s.drop(owner, queue, func(ch *amqp.Channel) error {
				_, err := ch.QueueDelete(queue, false, false, false)
				return err
			})
			if err != nil {
				return fmt.Errorf("delete queue %q: %w", queue, err)
			}
		}
		err := s.drop(owner, exchange, func(ch *amqp.Channel) error { return ch.ExchangeDelete(exchange, false, false) })
		if err != nil {
			return fmt.Errorf("delete exchange %q: %w", exchange, err)
		}
		return nil
	})
}

// drop deletes what has its owner's mark, then the mark.
func (s *session) drop(owner, name string, remove func(*amqp.Channel) error) error {
	marked, err := s.marked(owner, name)
	if err != nil || !marked {
		return err
	}
	if err := s.ask(remove); err != nil {
		return err
	}
	return s.ask(func(ch *amqp.Channel) error { return ch.ExchangeDelete(markOf(owner, name), false, false) })
}

func (s *session) forgetExchange(exchange string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := range s.declared {
		if a.exchange == exchange {
			delete(s.declared, a)
		}
	}
}
