package websocket

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// networks is a set of addresses.
type networks []netip.Prefix

// parseNetworks reads addresses ("10.0.0.7", "::1") and CIDR ranges ("10.0.0.0/8").
func parseNetworks(entries []string) (networks, error) {
	var out networks
	for _, entry := range entries {
		p, err := parseNetwork(entry)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func parseNetwork(entry string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(entry); err == nil {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(entry)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address like 10.0.0.7 nor a range like 10.0.0.0/8", entry)
	}
	return p.Masked(), nil
}

func (n networks) has(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range n {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// forwarding are the headers that a proxy adds. Whoever sends one is not taken for the
// host it comes from (evolution.md 4.7.2).
var forwarding = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via", "Cf-Connecting-Ip", "True-Client-Ip"}

// clientAddr returns the address a request really comes from. ok is false when that cannot be known: the
// request came through a proxy that is not trusted.
func clientAddr(r *http.Request, proxies networks) (addr netip.Addr, ok bool) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	if !forwarded(r.Header) {
		return peer.Addr(), true
	}
	if !proxies.has(peer.Addr()) {
		return netip.Addr{}, false
	}
	return lastUntrusted(r.Header.Values("X-Forwarded-For"), proxies)
}

func forwarded(h http.Header) bool {
	for _, name := range forwarding {
		if len(h[name]) > 0 {
			return true
		}
	}
	return false
}

// lastUntrusted returns the last address of X-Forwarded-For that is not a trusted proxy's: what stands before it was
// written by somebody whom nobody vouches for.
func lastUntrusted(headers []string, proxies networks) (netip.Addr, bool) {
	hops := strings.Split(strings.Join(headers, ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		addr, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return netip.Addr{}, false
		}
		if !proxies.has(addr) {
			return addr, true
		}
	}
	return netip.Addr{}, false
}
