package rabbitmq

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// ensure makes sure that the exchange, the queue and the binding of a exist. It asks the broker once in a session, and again
// after forget, over a channel of its own: the broker closes a channel on which it refuses something.
func (s *session) ensure(ctx context.Context, a address) error {
	if s.has(a) {
		return nil
	}
	return s.inTurn(ctx, func() error {
		if s.has(a) {
			return nil
		}
		if err := s.declare(a); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.declared[a] = true
		return nil
	})
}

// inTurn runs f while nobody else declares or deletes.
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

// declare is called by the one who has the turn.
func (s *session) declare(a address) error {
	err := s.ask(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(a.exchange, amqp.ExchangeTopic, true, false, false, false, nil)
	})
	if code(err) == amqp.PreconditionFailed {
		return fmt.Errorf("exchange %q exists and is no durable topic exchange: delete it, or let evosink use another; RabbitMQ says %w", a.exchange, err)
	}
	if err != nil {
		return undeclared("exchange", a.exchange, err)
	}
	err = s.ask(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(a.queue, true, false, false, false, s.queues.arguments())
		return err
	})
	if code(err) == amqp.PreconditionFailed {
		s.log.Warn().Str("queue", a.queue).Str("reason", err.Error()).Msg("a queue exists with other properties than configured; it is used as it is")
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
		return fmt.Errorf("the user may not declare %s %q: grant it the right to configure, or set declare to false and create it yourself; RabbitMQ says %w", what, name, err)
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

// remove deletes the exchange of an instance and the queues named. What does not exist is no failure to RabbitMQ.
func (s *session) remove(ctx context.Context, exchange string, queues []string) error {
	return s.inTurn(ctx, func() error {
		for _, queue := range queues {
			err := s.ask(func(ch *amqp.Channel) error { _, err := ch.QueueDelete(queue, false, false, false); return err })
			if err != nil {
				return fmt.Errorf("delete queue %q: %w", queue, err)
			}
		}
		if err := s.ask(func(ch *amqp.Channel) error { return ch.ExchangeDelete(exchange, false, false) }); err != nil {
			return fmt.Errorf("delete exchange %q: %w", exchange, err)
		}
		s.forgetExchange(exchange)
		return nil
	})
}

// queuesOf returns the queues that this session knows of in an exchange.
func (s *session) queuesOf(exchange string) (queues []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := range s.declared {
		if a.exchange == exchange {
			queues = append(queues, a.queue)
		}
	}
	return queues
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
