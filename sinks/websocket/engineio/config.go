package engineio

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// Config is everything a Server is told. Begin with DefaultConfig, whose
// values are those of the reference server, and set Accept.
type Config struct {
	// PingInterval is the time from the handshake to the first ping and from
	// each pong to the next ping. Default 25 s.
	PingInterval time.Duration
	// PingTimeout is how long a pong may take before the session ends with
	// ReasonPingTimeout. Default 20 s.
	PingTimeout time.Duration
	// UpgradeTimeout is how long a websocket that wants to take over from
	// polling may take. Default 10 s.
	UpgradeTimeout time.Duration
	// MaxPayload is the largest message, or polling body, that a client may
	// send, in bytes, after inflation. Default 1,000,000.
	MaxPayload int
	// MaxQueueBytes bounds what waits for one client that does not keep up.
	// Every waiting packet counts its bytes and a fixed overhead. A session
	// over the bound ends with ReasonSlowClient. What is first sent with nothing
	// waiting is always taken, and does not count. Default 4 MiB.
	MaxQueueBytes int

	// Transports lists what clients may use. Default polling and websocket.
	Transports []Transport
	// AllowUpgrades lets polling sessions move to websocket. Default true.
	AllowUpgrades bool
	// AllowEIO3 admits clients of the third revision (socket.io 1 and 2).
	AllowEIO3 bool

	// HTTPCompression is the size in bytes from which polling payloads are
	// compressed if the client accepts gzip or deflate; 0 turns it off.
	// Default 1024.
	HTTPCompression int
	// PerMessageDeflate is the size in bytes from which websocket messages
	// are compressed for clients that negotiate it; 0, the default, does not
	// negotiate. No compressor or window is kept per connection.
	PerMessageDeflate int

	// CORS answers cross-origin requests; nil, the default, sends no CORS
	// headers. It never refuses a request: that is AllowRequest's work.
	CORS *CORS
	// Cookie, if set, is the template of a cookie that carries the session id,
	// set by the polling handshake. Default nil.
	Cookie *http.Cookie

	// AllowRequest is asked once per handshake, of either transport, before a
	// session exists. The text of its error is shown to the client, with
	// status 403 (400 on a websocket). nil allows everything.
	AllowRequest func(*http.Request) error
	// Accept is called once for every new session, in the request's own
	// goroutine, before anything the client sends is read. It returns the
	// session's handler; nil ends the session. What it sends follows the open
	// packet. The request must not be kept: it is many times a session's size.
	Accept func(*Session, *http.Request) Handler

	// GoroutineReaders reads every websocket in a goroutine of its own, as on
	// systems without epoll, instead of parking the idle ones. Default false.
	GoroutineReaders bool
	// Logger receives what goes wrong outside any session. Sessions are silent
	// above debug. Default: nothing is logged.
	Logger zerolog.Logger
}

// CORS tells browsers which other origins may read the answers.
type CORS struct {
	// Origins lists the allowed origins, each as "scheme://host[:port]", or
	// the single entry "*" for any.
	Origins []string
	// Credentials allows cookies and authorisation headers.
	Credentials bool
}

// DefaultConfig returns the reference server's defaults. Accept is not set.
func DefaultConfig() Config {
	return Config{
		PingInterval:    25 * time.Second,
		PingTimeout:     20 * time.Second,
		UpgradeTimeout:  10 * time.Second,
		MaxPayload:      1_000_000,
		MaxQueueBytes:   4 << 20,
		Transports:      []Transport{Polling, WebSocket},
		AllowUpgrades:   true,
		HTTPCompression: 1024,
		Logger:          zerolog.Nop(),
	}
}

// Validate reports every setting that cannot work, by its field name.
func (c Config) Validate() error {
	var errs []error
	bad := func(broken bool, format string, args ...any) {
		if broken {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.PingInterval < time.Millisecond, "PingInterval must be at least 1ms, not %v", c.PingInterval)
	bad(c.PingTimeout < time.Millisecond, "PingTimeout must be at least 1ms, not %v", c.PingTimeout)
	bad(c.UpgradeTimeout < time.Millisecond, "UpgradeTimeout must be at least 1ms, not %v", c.UpgradeTimeout)
	bad(c.MaxPayload < 1, "MaxPayload must be above 0, not %d", c.MaxPayload)
	bad(c.MaxQueueBytes < 1, "MaxQueueBytes must be above 0, not %d", c.MaxQueueBytes)
	bad(c.HTTPCompression < 0, "HTTPCompression must not be below 0, not %d", c.HTTPCompression)
	bad(c.PerMessageDeflate < 0, "PerMessageDeflate must not be below 0, not %d", c.PerMessageDeflate)
	bad(len(c.Transports) == 0, "Transports must name polling, websocket or both")
	for _, t := range c.Transports {
		bad(t != Polling && t != WebSocket, "Transports holds an unknown transport %d", t)
	}
	bad(c.CORS != nil && len(c.CORS.Origins) == 0, `CORS.Origins must list at least one origin, or "*"`)
	bad(c.Cookie != nil && c.Cookie.Name == "", "Cookie must have a Name")
	bad(c.Accept == nil, "Accept must be set")
	return errors.Join(errs...)
}
