// Package webhook posts events to HTTP receivers: to one global address, and to those that instances set.
//
// # One delivery
//
// The core asks [Sink.Targets] where an event goes, once, when it arrives: to the global webhook, and to each webhook of the
// instance whose events and filters let it pass. A target is the name of a webhook, never its URL, so what waits in the
// queue follows its webhook to a new URL, new headers, new secrets. [Sink.Deliver] then looks the webhook up in the settings of
// that moment, writes the body, mints token and signature, and makes one attempt. It never waits and never tries again: the delivery
// queue does that, guided by how the error is marked, and by [Sink.Retry].
//
//	2xx                                      done; what the body says does not matter, at most 64 KiB of it are read
//	307, 308 within the receiver             followed with method and body, at most 3 times
//	any other 3xx                            permanent; the text names the host to set the URL to
//	410, WEBHOOK_RETRY_NON_RETRYABLE_...     permanent: 400, 401, 403, 404, 422 unless configured
//	405, 411, 413, 414, 415, 431, 501, 505   permanent: they are about this request, which would be the same again
//	413, 429, 503 with Retry-After           retry after that time, an hour at most (the queue's bound)
//	503                                      unavailable
//	any other answer: 101, 408, 429, 500     retry
//	no connection: name unknown, refused,    unavailable: nothing was sent, so the event is not the reason
//	  no route, TLS handshake, timeout
//	connected, then no or half an answer,    retry: the event may be the reason, and may have arrived
//	  a reset, garbage, timeout
//	address refused by the guard             permanent
//	body above max_body_bytes                permanent
//	webhook removed, or settings unreadable  permanent
//	webhook disabled while events wait       unavailable: they are kept until it is enabled again
//
// Any answer, its body and its trailer end with the attempt's time-out; the status counts, whatever becomes of the
// body.
//
// Permanent deliveries become dead letters, which can be replayed. Unavailable ones use up no attempt: a 503 opens the
// webhook's own circuit breaker, no connection that of the host ([Sink.Host]), which all webhooks at that host share and
// which package queue keeps. "Within the receiver" means the same scheme, host and port, or from http to https on the same host.
//
// # What receivers get
//
// POST, Evolution API's envelope with the event's id behind it, and the owner's headers as they are, except for those that
// belong to the connection. jwt_key becomes Authorization: Bearer, valid for ten minutes from the attempt. Beside them:
//
//	Idempotency-Key     event id, instance's id and target, the same in every attempt
//	X-Event-Id          the event's id, which every sink carries; two instances may use the same
//	X-Attempt           counts from 1
//	webhook-id, webhook-timestamp, webhook-signature   Standard Webhooks, if a secret is set; two secrets make two signatures.
//	                    The id is the event's and the instance's: 0199.../0198...
//
// A URL is sent as RFC 3986 has it: what may not stand in its path or query is percent-encoded. The Host header is the
// URL's; only the global webhook may have another one. Connections are renewed after connection_age, so a name that
// moves in DNS is followed.
//
// A receiver that sorts out repeated ids sees each event once. The signature is that of the JSON before compression. In CloudEvents 1.0
// (structured mode) the type is the wire name of the event and the source its instance.
//
// # What differs from Evolution API
//
// evosink downloads no media. base64:false therefore means that data.message.base64 is left out of the body of that webhook, and of
// no other; the global webhook keeps it. The global webhook does not wait for the instance's. Redirects never lose the event.
// The error webhook (WEBHOOK_EVENTS_ERRORS) gets events named "error" without the global key.
//
// # Settings of an instance
//
// The single form of Evolution API (url, headers, events, byEvents, base64) and a list "webhooks" may stand beside each other; each webhook
// has its own events, headers, secrets, filters, order, format and gzip. A set that does not mention the list keeps it, as it keeps
// every key it does not mention. While there is a list, the stored "events" are those of all webhooks together, because the core
// looks there first, and "urlEvents" are those of the single form.
//
// order "instance", the default, means that every event waits for the one before it. "chat" lets chats overtake each other, "none"
// everything: the webhook is then sixteen targets, which share one breaker and one limit of concurrency. Changing the order while deliveries wait lets new
// ones overtake those, once.
//
// Secrets, the values of secret, secrets and headers.jwt_key, are stored and never shown: find answers "***" for each,
// and a set with "***" keeps what is stored. So does a set without secret and secrets, also for a webhook of the list,
// which is found by its name; "secrets": [] removes them. Headers are replaced as a whole: jwt_key is kept only if it
// is repeated, as "***" or as it is.
//
// Filters are asked while other instances' events wait, so they look at a bounded part of an event: the first 256 KiB
// of its data, and the first 500 elements of a list. A list that goes on behind that passes; an event that names its
// chat only behind that is about no chat, and passes too.
//
// # Whose targets
//
// The global webhook and the error webhook are the operator's: they may be anywhere but at this server itself, and they
// alone see the TLS client certificate of the configuration. Webhooks of instances are their owners', who may be
// strangers. They are kept from private addresses (guard.deny_private) unless the server listens on loopback only, that
// is on a machine of one's own; the operator can allow hosts and networks, with or without a port (guard.allow), or
// switch the guard off. URLs with a private address, and URLs of this server, are refused when they are set; what a
// name means is looked at for every connection. Behind the guard no proxy of the environment is used. See [Guard].
package webhook

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// Spec describes the sink to main's table.
var Spec = sink.Spec[Config]{
	Name: "webhook", Mode: sink.Queued,
	Defaults: Defaults,
	Enabled:  func(c *Config) bool { return c.Enabled },
	Rule:     func(c *Config) sink.Rule { return c.rule() },
	Settings: &sink.Settings{Schema: schema, Normalize: normalize, Created: created},
	Permit:   permit,
	New: func(c Config, h sink.Host) (sink.Sink, error) {
		s, err := New(c, h)
		if err != nil {
			return nil, err
		}
		return s, nil
	},
}

var (
	_ sink.Sink      = (*Sink)(nil)
	_ sink.Targeter  = (*Sink)(nil)
	_ sink.Retrier   = (*Sink)(nil)
	_ sink.Addresser = (*Sink)(nil)
	_ sink.Hoster    = (*Sink)(nil)
)

// A Sink posts events. Make it with [New].
type Sink struct {
	config   Config
	codec    event.Codec
	policy   sink.Policy
	now      clock
	global   *hook        // nil when off
	wanted   bool         // whether the global webhook wants any event
	events   event.Filter // which
	errors   *hook        // nil when off
	settings cache
	own      *pool // to addresses of the operator
	theirs   *pool // to those of instances, guarded if configured

	uses *sink.Uses
}

// New makes a sink of a valid configuration. It reads the files of the TLS section and starts nothing.
func New(c Config, h sink.Host) (*Sink, error) {
	for _, w := range c.warnings() {
		h.Logger.Warn().Msg(w)
	}
	if c.Enabled && c.guarded() && c.Guard.DenyPrivate == Auto {
		h.Logger.Info().Msg("webhooks of instances are kept from private addresses, because the server listens beyond loopback: " +
			"WEBHOOK_ALLOW_ADDRESSES lists exceptions such as n8n:5678, WEBHOOK_DENY_PRIVATE=false opens all of them")
	}
	if c.RequestTimeout == 0 {
		c.RequestTimeout = Defaults().RequestTimeout
	}
	if c.UserAgent == "" {
		c.UserAgent = userAgent()
	}
	wanted := c.wanted()
	s := &Sink{config: c, codec: h.Envelope, policy: c.Retry.policy(c.RequestTimeout), now: time.Now, wanted: len(wanted) > 0, events: event.NewFilter(wanted...),
		uses: sink.NewUses()}
	return s, errors.Join(s.addHooks(), s.addTransports())
}

func (s *Sink) addHooks() (err error) {
	if s.config.GlobalEnabled {
		if s.global, err = operatorsHook(s.config.global()); err != nil {
			return err
		}
	}
	if s.config.Errors {
		s.errors, err = operatorsHook(s.config.errorHook())
	}
	return err
}

func (s *Sink) addTransports() error {
	operators, err := newTransport(s.config)
	if err != nil {
		return err
	}
	now := func() time.Time { return s.now() }
	s.own = &pool{template: operators, age: s.config.ConnectionAge, now: now}
	s.theirs = &pool{template: forTenants(operators, s.config), age: s.config.ConnectionAge, now: now}
	return nil
}

// Start implements [sink.Sink]. There is nothing to connect to before the first delivery.
func (s *Sink) Start(ctx context.Context) error {
	s.uses.EndWith(ctx)
	return nil
}

// Deliver implements [sink.Sink]: one attempt. The package comment says which error means what.
func (s *Sink) Deliver(ctx context.Context, d *sink.Delivery) error {
	ctx, end, err := s.uses.Begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	h, err := s.lookUp(d)
	if err != nil {
		return err
	}
	r, err := s.request(h, d)
	if err != nil {
		return sink.Permanent(err)
	}
	connections := s.theirs
	if h == s.global || h == s.errors {
		connections = s.own
	}
	transport, done := connections.take()
	defer done()
	return s.attempt(ctx, transport, r)
}

// lookUp finds the webhook of a delivery as it is set now.
func (s *Sink) lookUp(d *sink.Delivery) (*hook, error) {
	name := webhookOf(d.Target)
	switch name {
	case globalTarget:
		return switchedOn(s.global, name)
	case errorsTarget:
		return switchedOn(s.errors, name)
	}
	set, err := s.settings.get(d.Settings)
	if err != nil {
		return nil, sink.Permanent(err)
	}
	if broken := set.broken[name]; broken != nil {
		return nil, sink.Permanent(fmt.Errorf("webhook %s: %w", name, broken))
	}
	for _, h := range set.hooks {
		switch {
		case h.name != name:
		case !set.enabled || !h.enabled:
			return switchedOn(nil, name)
		default:
			return h, nil
		}
	}
	return nil, sink.Permanent(fmt.Errorf("webhook %s is not configured any more", name))
}

// Address implements [sink.Addresser]: a webhook is one address, with a breaker and a limit of attempts of its own, whatever
// its order. Webhooks of two instances are two, also when their URLs have the same host: it may hang for one and answer the
// other.
func (s *Sink) Address(scope sink.Scope, t sink.Target, instance string) string {
	if scope == sink.Global {
		return webhookOf(t)
	}
	return instance + "/" + webhookOf(t)
}

// Host implements [sink.Hoster]: webhooks of all instances at one host share the host's circuit breaker. An attempt that gets
// no answer from the host ([sink.Unavailable]) opens it; the queue then probes the host with one attempt for all of them.
func (s *Sink) Host(d *sink.Delivery) string {
	h, err := s.lookUp(d)
	if err != nil {
		return "" // it will not be connected to
	}
	return h.url.Scheme + "://" + strings.ToLower(h.url.Hostname()) + ":" + portOf(h.url)
}

// switchedOn keeps what waits for a webhook that is nil, which is to say off.
func switchedOn(h *hook, name string) (*hook, error) {
	if h == nil {
		return nil, sink.Unavailable(fmt.Errorf("webhook %s is switched off", name))
	}
	return h, nil
}

// Close implements [sink.Sink].
func (s *Sink) Close(ctx context.Context) error {
	s.uses.Close(ctx)
	s.own.close()
	s.theirs.close()
	return nil
}
