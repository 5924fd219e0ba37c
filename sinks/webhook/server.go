package webhook

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Server is what the sink must know about the server that it is a part of.
type Server struct {
	URL  string // public address, "" if there is none
	Host string // what the listener is bound to; "" is every address of the machine
	Port int    // of the listener; 0 if it is not known
}

// local reports whether only this machine reaches the listener.
func (s Server) local() bool {
	addr, err := netip.ParseAddr(s.Host)
	return s.Host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// inlets are the first segments of the paths under which the server takes events.
var inlets = []string{"", "events", "ingest"}

// takes reports whether an event that is posted to u comes back to this server as a new one: u names its listener by
// an address of this machine or by a name that needs no look-up, or it names one of the routes for events below the
// public address. Other paths below that may belong to another service behind the same proxy.
func (s Server) takes(u *url.URL) bool {
	if s.isListener(u, nil) {
		return true
	}
	public, err := url.Parse(s.URL)
	if err != nil || public.Host == "" || !strings.EqualFold(public.Hostname(), u.Hostname()) {
		return false
	}
	if portOf(public) == strconv.Itoa(s.Port) && portOf(u) == portOf(public) {
		return true
	}
	base := strings.TrimSuffix(public.Path, "/") + "/"
	rest, below := strings.CutPrefix(strings.TrimSuffix(u.Path, "/")+"/", base)
	inlet, _, _ := strings.Cut(rest, "/")
	return below && slices.Contains(inlets, inlet)
}

// isListener reports whether u names the listener by its port and an address that it hears. found are the addresses
// of u's host, as far as they are known.
func (s Server) isListener(u *url.URL, found []netip.Addr) bool {
	if s.Port == 0 || portOf(u) != strconv.Itoa(s.Port) {
		return false
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	own, _ := os.Hostname() // a machine without a name has none to compare with
	if addr, err := netip.ParseAddr(host); err == nil {
		found = append(found, addr)
	} else if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		found = append(found, netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	} else if strings.EqualFold(own, host) && !s.local() {
		return true
	}
	return slices.ContainsFunc(found, s.hears)
}

// hears reports whether a connection to an address, on its port, comes to the listener.
func (s Server) hears(a netip.Addr) bool {
	a = a.WithZone("").Unmap()
	if a.IsUnspecified() { // dialled, it means this machine
		a = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	bound, err := netip.ParseAddr(s.Host)
	if err == nil && !bound.IsUnspecified() {
		return bound.WithZone("").Unmap() == a
	}
	if a.IsLoopback() || s.Host == "localhost" {
		return a.IsLoopback()
	}
	own, _ := net.InterfaceAddrs() // a machine that does not tell has none to compare with
	return slices.ContainsFunc(own, func(n net.Addr) bool {
		prefix, err := netip.ParsePrefix(n.String())
		return err == nil && prefix.Addr().WithZone("").Unmap() == a
	})
}

// lookUpPatience bounds the look-up of a name in the configuration.
const lookUpPatience = 2 * time.Second

// loop reports that the operator's target u is this server. A name on the listener's port is looked up: in a network
// of containers, nothing else tells that it means this one. A name that cannot be looked up now is no error.
func (c *Config) loop(u *url.URL, variable string) error {
	takes := c.Server.takes(u)
	if !takes && c.Server.Port != 0 && portOf(u) == strconv.Itoa(c.Server.Port) {
		ctx, cancel := context.WithTimeout(context.Background(), lookUpPatience)
		defer cancel()
		resolver := c.resolver
		if resolver == nil {
			resolver = net.DefaultResolver
		}
		found, _ := resolver.LookupNetIP(ctx, "ip", u.Hostname())
		takes = c.Server.isListener(u, found)
	}
	if !takes {
		return nil
	}
	return fmt.Errorf("names this server (%s): each event would come back as a new one. Give the address of the receiver; "+
		"if one .env serves Evolution API too, set EVOSINK_%s for this server, or switch it off here", u.Host, variable)
}
