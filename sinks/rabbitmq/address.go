package rabbitmq

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

const (
	maxName  = 255 // bytes of a name on the wire of AMQP 0-9-1
	reserved = "amq."
)

// An address is where an event goes: it is published to exchange with routing key key, and queue is bound with that key.
type address struct{ exchange, queue, key string }

// addressOf returns the address of an event as Evolution API forms it at emit time (evolution.md 1.1, 3.3).
func (c *Config) addressOf(e *event.Event, scope sink.Scope) (address, error) {
	if scope == sink.Global {
		return c.global(e.Name).check()
	}
	return address{exchange: e.Instance, queue: queueOf(e.Instance, e.Name), key: e.Name}.check()
}

// global returns the address of an event of any instance in the global exchange.
func (c *Config) global(name string) address {
	return address{exchange: c.ExchangeName, queue: queueOf(c.PrefixKey, name), key: name}
}

func queueOf(prefix, name string) string {
	suffix := strings.ToLower(strings.ReplaceAll(name, "_", "."))
	if prefix == "" {
		return suffix
	}
	return prefix + "." + suffix
}

// check reports what RabbitMQ would refuse, or take for something else than it is.
func (a address) check() (address, error) {
	var err error
	switch {
	case strings.HasPrefix(a.exchange, reserved) || strings.HasPrefix(a.queue, reserved):
		err = fmt.Errorf("exchange %q, queue %q: RabbitMQ reserves names that begin with %s", a.exchange, a.queue, reserved)
	case len(a.queue) > maxName:
		err = fmt.Errorf("the name of the queue for %s has %d bytes, RabbitMQ allows %d", a.key, len(a.queue), maxName)
	case slices.ContainsFunc(strings.Split(a.key, "."), func(word string) bool { return word == "*" || word == "#" }):
		err = fmt.Errorf("event %q: the words * and # are wildcards in RabbitMQ and would bind queues to other events", a.key)
	}
	return a, sink.Permanent(err)
}
