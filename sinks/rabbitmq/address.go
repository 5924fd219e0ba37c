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

// An address is where an event goes: it is published to exchange with routing key key, and queue is bound with that
// key.
type address struct{ exchange, queue, key string }

// addresses tells where events go.
type addresses struct {
	config *Config
	naming *sink.Naming
}

func newAddresses(c *Config) *addresses {
	return &addresses{config: c, naming: &sink.Naming{
		Separator: ".", Shared: c.PrefixKey, InUse: c.rule().Global, Spell: suffix,
		Escape: func(name string) string { return name }, Disguise: disguise, Token: token,
		Own: c.CustomQueues,
	}}
}

func suffix(wire string) string { return strings.ToLower(strings.ReplaceAll(wire, "_", ".")) }

// disguise returns a name that no instance can have, because it has slashes.
func disguise(instance string) string { return "/" + strings.ReplaceAll(instance, ".", "/") }

var tokens = strings.NewReplacer("%", "%25", ".", "%2E")

func token(name string, changed bool) string {
	if !changed {
		return tokens.Replace(name)
	}
	return fmt.Sprintf("%%%02X", name[0]) + tokens.Replace(name[1:])
}

// of returns the address of an event as Evolution API forms it at emit time.
func (s *addresses) of(e *event.Event, scope sink.Scope) (address, error) {
	part := s.naming.Part(e.Name)
	key := e.Name
	switch {
	case part == sink.Custom:
		key = sink.Custom
	case strings.HasPrefix(part, sink.Custom+"."):
		key = sink.Custom + "." + e.Name
	}
	if scope == sink.Global {
		return address{s.config.ExchangeName, s.naming.Global(part), key}.check()
	}
	return address{s.exchange(e.Instance), s.naming.Name(e.Instance, part), key}.check()
}

// exchange returns the exchange of an instance, which is not the global one.
func (s *addresses) exchange(instance string) string {
	if instance == s.config.ExchangeName && s.config.rule().Global {
		return disguise(instance)
	}
	return instance
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
