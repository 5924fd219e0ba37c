// Package pusher is the sink that triggers events on Pusher Channels, or on a server of one's own that speaks its HTTP API, where clients of Evolution API
// listen for them (evolution.md, section 3.6).
//
//	            app                       channel              event
//	instance    that of its settings      the instance's name  its wire name
//	global      PUSHER_GLOBAL_...         the instance's name  its wire name
//
// The data are the envelope. Channels are public, as in Evolution API: whoever has the app's key and an instance's name can listen. Bytes of that name
// that channels cannot have are escaped as _xHH. PUSHER_HOST sends all apps' events to a server of one's own; instances cannot
// set a host, and their cluster is letters and digits, so they can point the sink at nothing but Pusher.
//
// # Size
//
// Pusher takes events of up to 10 KiB. The QR image of qrcode.updated is always left out, as in Evolution API. A larger event loses, in
// a copy, what is under the keys base64 and jpegThumbnail, 32 levels deep; one that is still too large becomes a dead letter that says so.
//
// # Delivery
//
// Deliver returns nil when Pusher has answered 2xx: it has the event then, and sends it to whoever listens at that
// moment. A batch becomes requests of up to ten events; one that is refused is sent again event by event, so the others
// of it arrive; behind an event that fails nothing of its channel is sent. Pusher knows no ids: an event that is sent
// again arrives again, with the same "id" in its envelope.
//
//	what happened                              outcome
//	no answer, 401, 403, 429, 5xx         unavailable
//	429 and 5xx with Retry-After               retry after that time
//	400, 413, too large, a name too long       permanent
//	the instance has no app any more           permanent
//	any other answer                           failed: tried again
package pusher

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// Name is the sink's name.
const Name = "pusher"

// Spec describes the sink to the core.
var Spec = sink.Spec[Config]{
	Name: Name, Mode: sink.Queued,
	Defaults: Defaults,
	Enabled:  func(c *Config) bool { return c.Enabled },
	Rule:     (*Config).rule,
	Settings: &sink.Settings{Schema: schema, Normalize: normalize},
	New:      func(c Config, h sink.Host) (sink.Sink, error) { return New(c, h) },
}

// A Sink triggers events on apps.
type Sink struct {
	config    Config
	codec     event.Codec
	log       zerolog.Logger
	transport *http.Transport
	told      sink.Told // instances whose names are escaped
	uses      *sink.Uses
}

var (
	_ sink.Sink    = (*Sink)(nil)
	_ sink.Batcher = (*Sink)(nil)
)

// New makes the sink of a valid configuration. It starts nothing.
func New(c Config, h sink.Host) (*Sink, error) {
	c.Enabled = true // whoever makes it wants it
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Sink{config: c, codec: h.Envelope, log: h.Logger, uses: sink.NewUses()}
	s.codec.Keys = keys
	s.transport = &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
		MaxIdleConns: 1024, MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
	return s, nil
}

// Start implements [sink.Sink]. There is nothing to connect to before the first delivery.
func (s *Sink) Start(context.Context) error { return nil }

// Deliver triggers one event.
func (s *Sink) Deliver(ctx context.Context, d *sink.Delivery) error {
	return s.DeliverBatch(ctx, []*sink.Delivery{d})[0]
}

// DeliverBatch triggers events, those of an app in order.
func (s *Sink) DeliverBatch(ctx context.Context, deliveries []*sink.Delivery) []error {
	ctx, end, err := s.uses.Begin(ctx)
	if err != nil {
		return sink.FailAll(deliveries, err)
	}
	defer end()
	b := sink.Prepare(deliveries, s.message)
	return b.Answer(s.send(ctx, b.Messages))
}

// Close waits for deliveries under way until ctx ends, then ends them.
func (s *Sink) Close(ctx context.Context) error {
	s.uses.Close(ctx)
	s.transport.CloseIdleConnections()
	return nil
}
