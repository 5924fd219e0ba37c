package webhook

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
)

// guarded are the networks that the guard refuses beyond those that [netip.Addr] knows by name.
var guarded = prefixes(
	"0.0.0.0/8",                                                                                         // this network
	"100.64.0.0/10",                                                                                     // shared by carriers; Alibaba's metadata service is in it
	"168.63.129.16/32",                                                                                  // Azure's host
	"192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", // for no public use
	"100::/64", "2001:db8::/32", "fec0::/10", "64:ff9b:1::/48", // the same in IPv6
	"2001::/32", // Teredo, which carries IPv4 in a form not worth undoing
)

// embedding are IPv6 networks whose addresses hold an IPv4 address, at the byte given.
var embedding = []struct {
	netip.Prefix
	at int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4
	{netip.MustParsePrefix("::/96"), 12},        // IPv4-compatible
}

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, s := range texts {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// A refused is the error of an address that the guard keeps from webhooks.
type refused struct{ addr netip.Addr }

func (r *refused) Error() string {
	return fmt.Sprintf("the address %s is not public, and guard.deny_private is on (exceptions: guard.allow)", r.addr)
}

// control is called with every address that is about to be dialled, after name look-up: a name that meant something
// else when it was looked at before does not get by.
func (g Guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	if addr := at.Addr().WithZone("").Unmap(); !g.permits(addr) {
		return &refused{addr}
	}
	return nil
}

func (g Guard) permits(a netip.Addr) bool {
	return in(g.Allow, a) || public(a)
}

// public reports whether an address belongs to the open internet.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || in(guarded, a) {
		return false
	}
	for _, e := range embedding {
		if e.Contains(a) {
			b := a.As16()
			return public(netip.AddrFrom4([4]byte(b[e.at : e.at+4])))
		}
	}
	return true
}

func in(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
