// Package remote tells the address of an HTTP request's client, also behind reverse proxies, and limits what one
// address may do. Listeners and sinks that serve HTTP share it, so that one client is one client everywhere.
package remote

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Networks is a set of addresses. The zero value is empty.
type Networks []netip.Prefix

// ParseNetworks reads addresses ("10.0.0.7", "::1") and CIDR ranges ("10.0.0.0/8").
func ParseNetworks(entries []string) (Networks, error) {
	var out Networks
	for _, entry := range entries {
		if addr, err := netip.ParseAddr(entry); err == nil {
			addr = addr.Unmap()
			out = append(out, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(entry)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address like 10.0.0.7 nor a range like 10.0.0.0/8", entry)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// Contains reports whether addr is in the set. IPv4 addresses mapped to IPv6 count as IPv4, zones are ignored.
func (n Networks) Contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range n {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// A Client is the other end of a request as far as it can be known.
type Client struct {
	// Addr is the client's address. It is the zero Addr where it cannot be known: the request came through a proxy that is
	// not trusted, or through a trusted one that does not name its client.
	Addr netip.Addr
	// Peer is the address at the other end of the connection: the client's own or a proxy's.
	Peer netip.Addr
	// Proxied tells that the request came through a proxy, or says so.
	Proxied bool
}

// Known reports whether the client's address is known.
func (c Client) Known() bool { return c.Addr.IsValid() }

// Bucket returns what limits per client count by: the client's address, or its proxy's where the client's is not known.
// IPv6 addresses count by their /64 network, which one customer of a provider has as a whole.
func (c Client) Bucket() netip.Prefix {
	addr := c.Addr
	if !addr.IsValid() {
		addr = c.Peer
	}
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // the zero Prefix for the zero Addr: such requests share one bucket
	return p
}

// String returns the address for log lines: "203.0.113.7", or "unknown, through 10.0.0.1".
func (c Client) String() string {
	if c.Known() {
		return c.Addr.Unmap().String()
	}
	return "unknown, through " + c.Peer.Unmap().String()
}

// forwarding are the headers that proxies, tunnels and content networks add, and forwardingPrefixes how others of them
// begin. No client has a reason to send one of them.
var (
	forwarding = []string{
		"Forwarded", "Via", "X-Forwarded", "X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Original-Host", "X-Original-Url",
		"X-Original-For", "X-Original-Proto", "X-Scheme", "X-Nginx-Proxy", "X-Proxy-User-Ip", "X-Proxyuser-Ip", "True-Client-Ip",
		"X-Azure-Clientip", "X-Azure-Socketip", "Cdn-Loop", "Proxy-Connection", "Max-Forwards",
	}
	forwardingPrefixes = []string{
		"X-Forwarded-", "X-Original-Forwarded-", "X-Envoy-", "X-Arr-", "X-Appengine-", "X-Vercel-", "Cf-", "Fastly-", "Fly-", "Ngrok-",
		"Tailscale-",
	}
)

// tellsOfProxy reports whether a header of that canonical name is a sign of a proxy.
func tellsOfProxy(name string) bool {
	return slices.Contains(forwarding, name) ||
		slices.ContainsFunc(forwardingPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// Resolve tells the client of r. Only X-Forwarded-For of peers in proxies is believed: its last address that is not
// itself a trusted proxy's is the client's. Entries may carry a port ("10.1.2.3:4711", "[2001:db8::1]:4711"). A
// loopback address in it names no client: it is the proxy's own view of itself, or forged.
func Resolve(r *http.Request, proxies Networks) Client {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return Client{Proxied: true}
	}
	c := Client{Peer: peer.Addr().Unmap()}
	trusted := proxies.Contains(c.Peer)
	c.Proxied = trusted
	for name := range r.Header {
		c.Proxied = c.Proxied || tellsOfProxy(name)
	}
	switch {
	case !c.Proxied:
		c.Addr = c.Peer
	case trusted:
		c.Addr = lastUntrusted(r.Header["X-Forwarded-For"], proxies)
	}
	return c
}

func lastUntrusted(headers []string, proxies Networks) netip.Addr {
	hops := strings.Split(strings.Join(headers, ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop := strings.TrimSpace(hops[i])
		if hop == "" {
			continue
		}
		addr, ok := parseHop(hop)
		if !ok || addr.IsLoopback() || addr.IsUnspecified() {
			return netip.Addr{}
		}
		if !proxies.Contains(addr) {
			return addr
		}
	}
	return netip.Addr{}
}

// parseHop reads an entry of X-Forwarded-For: 10.0.0.1, 10.0.0.1:80, 2001:db8::1, [2001:db8::1] or [2001:db8::1]:80.
func parseHop(hop string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(hop); err == nil {
		return ap.Addr().Unmap(), true
	}
	if strings.HasPrefix(hop, "[") && strings.HasSuffix(hop, "]") {
		hop = hop[1 : len(hop)-1]
	}
	addr, err := netip.ParseAddr(hop)
	return addr.Unmap(), err == nil
}
