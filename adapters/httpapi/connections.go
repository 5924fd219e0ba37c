package httpapi

import (
	lists "container/list"
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/evosink/evosink/core/sink/remote"
	"github.com/evosink/evosink/core/uses"
)

const (
	// spareConnections are those that are let in beyond a limit, for health checks. One address may have half of them.
	spareConnections = 16
	// spareTime is how long one of them lasts.
	spareTime = 5 * time.Second
	// maxConnections is the limit where none is configured, if the limit of open files is not lower.
	maxConnections = 50_000

	// manyFiles stands for no limit of open files, and fewFiles for one that is not known.
	manyFiles = 1 << 20
	fewFiles  = 1024
)

// connections are those of one listener: so many in all, and so many per client address. A new one for which there is
// no place takes that of the connection that has been without a request for the longest. If all are busy it is let in
// nevertheless, as a spare one, on which only health checks and metrics are answered, and everything else is refused in
// words; of these there are few and the oldest is closed for a new one. So the process keeps descriptors for its files
// and for its own connections.
//
// The connections of a trusted proxy count for the clients that it names, each while a request of that client is
// answered or, behind a websocket handshake, until it ends. Any number of goroutines may use it at once.
type connections struct {
	max        int // in all
	perAddress int
	proxies    remote.Networks
	log        *log.Logger
	lines      remote.Limiter // of the log
	unlisted   unlisted

	mu sync.Mutex
	// mu guards the fields below, and those of every connection.
	open      int
	byAddress uses.Counts[netip.Prefix, int]
	waiting   *lists.List // of *connection: without a request, the longest first
	spare     *lists.List // of *connection: beyond a limit, the oldest first
}

// A connection is one that is counted. It has all that a TCP connection can do. There may be many idle ones, so it is
// small.
type connection struct {
	*net.TCPConn
	of       *connections
	over     *problem       // what a spare connection answers; nil for others
	place    *lists.Element // in one of the lists; nil in none
	expiry   *time.Timer    // of a spare connection
	address  netip.Prefix   // the client's, or that of its trusted proxy
	counted  bool           // for the address
	proxy    bool           // its peer is a trusted proxy
	hijacked bool
	closed   bool
}

// newConnections returns the connections of a listener with the limits of s, files being the limit of open files.
func newConnections(s Server, files int, logger *log.Logger) *connections {
	proxies, _ := remote.ParseNetworks(s.TrustedProxies) // checked by Validate
	c := &connections{
		proxies: proxies, log: logger, lines: remote.Limiter{Rate: rate.Every(time.Minute), Burst: 1}, unlisted: newUnlisted(logger),
		byAddress: uses.Counts[netip.Prefix, int]{}, waiting: lists.New(), spare: lists.New(),
	}
	others := min(max(files/4, 32), 2048) // descriptors for files, brokers, receivers
	most := max(files-others-spareConnections, 8)
	switch c.max = s.MaxConnections; {
	case c.max == 0:
		c.max = min(most, maxConnections)
	case c.max > most:
		logger.Printf("server.max_connections is %d, but %d open files (ulimit -n) allow %d only", c.max, files, most)
		c.max = most
	}
	if c.perAddress = s.MaxConnectionsPerAddress; c.perAddress == 0 {
		c.perAddress = max(c.max/2, 1)
	}
	return c
}

// serve makes server count its connections, and returns l with the limits.
func (c *connections) serve(server *http.Server, l net.Listener) net.Listener {
	server.Handler = c.handler(server.Handler)
	server.ConnState = c.changed
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if counted := countedOf(conn); counted != nil {
			return context.WithValue(ctx, connectionKey{}, counted)
		}
		return ctx
	}
	return limitedListener{l, c}
}

type connectionKey struct{}

type limitedListener struct {
	net.Listener
	connections *connections
}

func (l limitedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	tcp, ok := conn.(*net.TCPConn)
	if err != nil || !ok {
		return conn, err
	}
	return l.connections.admit(tcp), nil
}

// admit takes a new connection in, as a spare one if a limit is met.
func (c *connections) admit(tcp *net.TCPConn) *connection {
	peer, _ := netip.ParseAddrPort(tcp.RemoteAddr().String()) // always host and port
	client := remote.Client{Addr: peer.Addr(), Peer: peer.Addr()}
	conn := &connection{TCPConn: tcp, of: c, address: client.Bucket(), proxy: c.proxies.Contains(client.Addr)}
	for {
		victim := c.place(conn, client)
		if victim == nil {
			break
		}
		victim.Close()
	}
	if conn.over != nil && c.lines.Allow(client) {
		c.log.Printf("a connection from %s is refused: %s", client, strings.Join(conn.over.message.([]string), "; "))
	}
	return conn
}

// place gives a new connection its place. It returns a connection that has to be closed before there is one.
func (c *connections) place(conn *connection, client remote.Client) (victim *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !conn.proxy && c.byAddress[conn.address] >= c.perAddress:
		conn.over = c.addressFull(client)
	case c.open < c.max:
		c.open++
		if conn.counted = !conn.proxy; conn.counted {
			c.byAddress.Add(conn.address, 1)
		}
		conn.place = c.waiting.PushBack(conn)
		return nil
	case c.waiting.Len() > 0:
		return c.waiting.Front().Value.(*connection)
	default:
		conn.over = &problem{
			status: http.StatusServiceUnavailable, retryAfter: 5 * time.Second,
			message: []string{fmt.Sprintf("All %d connections are in use (server.max_connections); try again", c.max)},
		}
	}
	if victim = c.superfluous(conn.address); victim != nil {
		return victim
	}
	conn.place = c.spare.PushBack(conn)
	conn.expiry = time.AfterFunc(spareTime, func() { conn.Close() })
	return nil
}

// superfluous returns the spare connection that makes room for another from an address, nil if there is room. Held: mu.
func (c *connections) superfluous(address netip.Prefix) *connection {
	var oldest *connection
	same := 0
	for e := c.spare.Front(); e != nil; e = e.Next() {
		if conn := e.Value.(*connection); conn.address == address {
			if same++; oldest == nil {
				oldest = conn
			}
		}
	}
	switch {
	case same >= spareConnections/2:
		return oldest
	case c.spare.Len() >= spareConnections:
		return c.spare.Front().Value.(*connection)
	}
	return nil
}

func (c *connections) addressFull(client remote.Client) *problem {
	return &problem{
		status: http.StatusTooManyRequests, retryAfter: 5 * time.Second,
		message: []string{fmt.Sprintf("The address %s has %d connections already (server.max_connections_per_address); "+
			"if it is a reverse proxy's, SERVER_TRUSTED_PROXIES must list it", client, c.perAddress)},
	}
}

// release counts a connection out, once.
func (c *connections) release(conn *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if conn.closed {
		return
	}
	conn.closed = true
	if conn.over != nil {
		c.spare.Remove(conn.place)
		conn.expiry.Stop()
		return
	}
	c.busy(conn)
	c.open--
	if conn.counted {
		c.byAddress.Add(conn.address, -1)
	}
}

// busy takes a connection out of those without a request. Held: mu.
func (c *connections) busy(conn *connection) {
	if conn.place != nil {
		c.waiting.Remove(conn.place)
		conn.place = nil
	}
}

// changed is net/http's word about the state of a connection.
func (c *connections) changed(netConn net.Conn, state http.ConnState) {
	conn := countedOf(netConn)
	if conn == nil || conn.over != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateIdle:
		if conn.place == nil && !conn.closed {
			conn.place = c.waiting.PushBack(conn)
		}
	case http.StateActive:
		c.busy(conn)
	case http.StateHijacked:
		conn.hijacked = true
		c.busy(conn)
	}
}

// countedOf returns the counted connection below a server's, nil if it is not counted.
func countedOf(netConn net.Conn) *connection {
	if secure, ok := netConn.(*tls.Conn); ok {
		netConn = secure.NetConn()
	}
	conn, _ := netConn.(*connection)
	return conn
}

// Close closes the connection and gives its place back.
func (conn *connection) Close() error {
	defer conn.of.release(conn)
	return conn.TCPConn.Close()
}

// handler refuses what comes on spare connections, but for health checks, and counts the clients of trusted proxies.
func (c *connections) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _ := r.Context().Value(connectionKey{}).(*connection)
		switch {
		case conn == nil:
			next.ServeHTTP(w, r)
		case conn.over != nil:
			w.Header().Set("Connection", "close")
			if path := r.URL.Path; path != "/healthz" && path != "/readyz" && path != "/metrics" {
				_ = conn.over.write(w)
				return
			}
			next.ServeHTTP(w, r)
		case conn.proxy:
			c.serveProxied(conn, next, w, r)
		default:
			c.unlisted.check(r)
			next.ServeHTTP(w, r)
		}
	})
}

// serveProxied counts a request for the client that its proxy names, until it is answered or, if it took the connection
// over, until that ends.
func (c *connections) serveProxied(conn *connection, next http.Handler, w http.ResponseWriter, r *http.Request) {
	client := remote.Resolve(r, c.proxies)
	if !client.Known() {
		next.ServeHTTP(w, r)
		return
	}
	bucket := client.Bucket()
	c.mu.Lock()
	full := c.byAddress[bucket] >= c.perAddress
	if !full {
		c.byAddress.Add(bucket, 1)
	}
	c.mu.Unlock()
	if full {
		_ = c.addressFull(client).write(w)
		return
	}
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if conn.hijacked && !conn.closed && !conn.counted {
			conn.address, conn.counted = bucket, true // until it is closed
			return
		}
		c.byAddress.Add(bucket, -1)
	}()
	next.ServeHTTP(w, r)
}
