package webhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// A Switch is on, off, or left to the sink. In text it is true, false or auto.
type Switch uint8

// The positions of a switch.
const (
	Auto Switch = iota
	On
	Off
)

var switchWords = map[string]Switch{
	"auto": Auto, "": Auto, "true": On, "1": On, "yes": On, "on": On, "false": Off, "0": Off, "no": Off, "off": Off,
}

// UnmarshalText reads auto, or a bool as every other variable takes it.
func (s *Switch) UnmarshalText(b []byte) error {
	v, ok := switchWords[strings.ToLower(strings.TrimSpace(string(b)))]
	if !ok {
		return errors.New("want true, false or auto")
	}
	*s = v
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (s Switch) MarshalText() ([]byte, error) {
	return []byte([]string{"auto", "true", "false"}[min(s, Off)]), nil
}

// An Exception is a host or a network that the guard lets webhooks of instances reach, on one port or on all. Read it
// with UnmarshalText.
type Exception struct {
	host    string // lower-case; "" for a network
	network netip.Prefix
	port    uint16 // 0 is all
}

var hostForm = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$`)

// UnmarshalText reads a host (n8n, n8n:5678), an address (10.1.2.3, 10.1.2.3:80, fd00::1, [fd00::1]:80) or a network
// (10.1.0.0/16, 10.1.0.0/16:80, [fd00::/8]:443).
func (e *Exception) UnmarshalText(b []byte) error {
	text := strings.ToLower(strings.TrimSpace(string(b)))
	name, port := text, ""
	if rest, bracketed := strings.CutPrefix(text, "["); bracketed {
		inside, after, closed := strings.Cut(rest, "]")
		if !closed || after != "" && after[0] != ':' {
			return errException
		}
		name, port = inside, strings.TrimPrefix(after, ":")
	} else if strings.Count(text, ":") == 1 {
		name, port, _ = strings.Cut(text, ":")
	}
	out := Exception{}
	if port != "" || strings.HasSuffix(text, ":") {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return errException
		}
		out.port = uint16(n)
	}
	if network, err := netip.ParsePrefix(name); err == nil {
		out.network = network.Masked()
	} else if addr, err := netip.ParseAddr(name); err == nil {
		addr = addr.WithZone("").Unmap()
		out.network = netip.PrefixFrom(addr, addr.BitLen())
	} else if out.host = strings.TrimSuffix(name, "."); len(out.host) > 253 || !hostForm.MatchString(out.host) || strings.Trim(out.host, "0123456789.") == "" {
		return errException
	}
	*e = out
	return nil
}

var errException = errors.New("want a host or a network, with or without a port, like n8n:5678, 10.1.0.0/16 or [fd00::/8]:443")

// MarshalText writes what UnmarshalText reads.
func (e Exception) MarshalText() ([]byte, error) {
	name := e.host
	switch {
	case e.host != "":
	case e.network.IsSingleIP():
		name = e.network.Addr().String()
	default:
		name = e.network.String()
	}
	if e.port == 0 {
		return []byte(name), nil
	}
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	return []byte(name + ":" + strconv.Itoa(int(e.port))), nil
}

// notPublic are the networks that the guard refuses. Of IPv6, only what is in internet is looked at here: all else is
// refused.
var notPublic = prefixes(
	"0.0.0.0/8",        // this network
	"10.0.0.0/8",       // private
	"100.64.0.0/10",    // shared by carriers; Alibaba's metadata service is in it
	"127.0.0.0/8",      // loopback
	"168.63.129.16/32", // Azure's host
	"169.254.0.0/16",   // link-local, metadata services
	"172.16.0.0/12",    // private
	"192.0.0.0/24",     // IETF protocols
	"192.0.2.0/24",     // documentation
	"192.88.99.0/24",   // relays of 6to4, given up
	"192.168.0.0/16",   // private
	"198.18.0.0/15",    // benchmarks
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"224.0.0.0/4",      // multicast
	"240.0.0.0/4",      // reserved, broadcast
	"2001::/23",        // IETF protocols: Teredo, benchmarks, ORCHID
	"2001:db8::/32",    // documentation
	"3fff::/20",        // documentation
)

// internet is what of IPv6 is given out for the open internet.
var internet = netip.MustParsePrefix("2000::/3")

// translated are the addresses of NAT64, which stand for IPv4 ones.
var translated = netip.MustParsePrefix("64:ff9b::/96")

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
	return fmt.Sprintf("the address %s is not public, and guard.deny_private denies it; "+
		"the operator can allow hosts and networks: guard.allow (WEBHOOK_ALLOW_ADDRESSES)", r.addr)
}

// control is called with every address that is about to be dialled.
func (g Guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	return g.check(at.Addr(), at.Port())
}

// check refuses an address that is neither public nor an exception.
func (g Guard) check(a netip.Addr, port uint16) error {
	a = a.WithZone("").Unmap()
	if public(a) {
		return nil
	}
	for _, e := range g.Allow {
		if e.host == "" && e.network.Contains(a) && (e.port == 0 || e.port == port) {
			return nil
		}
	}
	return &refused{a}
}

// allowsHost reports whether the host of an address "host:port" is an exception by its name, whatever that means.
func (g Guard) allowsHost(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for _, e := range g.Allow {
		if e.host != "" && e.host == host && (e.port == 0 || strconv.Itoa(int(e.port)) == port) {
			return true
		}
	}
	return false
}

// public reports whether an address belongs to the open internet, and so does the IPv4 address that it may carry.
func public(a netip.Addr) bool {
	a = a.Unmap()
	if in(notPublic, a) {
		return false
	}
	if a.Is4() {
		return true
	}
	for _, carried := range carriedBy(a) {
		if !public(carried) {
			return false
		}
	}
	return internet.Contains(a) || translated.Contains(a)
}

// carriedBy returns the IPv4 addresses that the ways of carrying IPv4 in IPv6 read out of a. Those of IPv4-compatible
// (::a.b.c.d) and IPv4-translated (::ffff:0:a.b.c.d) addresses do not matter: none of these is in internet.
func carriedBy(a netip.Addr) (out []netip.Addr) {
	b := a.As16()
	at := func(i int) { out = append(out, netip.AddrFrom4([4]byte(b[i:i+4]))) }
	if translated.Contains(a) {
		at(12)
	}
	if b[0] == 0x20 && b[1] == 0x02 { // 6to4
		at(2)
	}
	if b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe { // ISATAP, below any prefix
		at(12)
	}
	return out
}

func in(networks []netip.Prefix, a netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
