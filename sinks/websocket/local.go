package websocket

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/evosink/evosink/core/sink/remote"
)

// keyless says which clients need no key. The zero value exempts none.
type keyless struct {
	networks remote.Networks
	names    []string // by which such clients may call the server, beside those of loopback; lower case
	origins  []string // of pages that may connect without a key, beside those of loopback
}

// The words of WEBSOCKET_ALLOWED_HOSTS.
const (
	noHosts  = "none" // every client needs a key
	anyHost  = "*"    // every client at loopback or a private address needs none
	loopback = "localhost"
)

var (
	loopbackOnly = networks("127.0.0.0/8", "::1")
	// private are the addresses that are not reached from the internet: loopback, RFC 1918, shared (RFC 6598), link-local
	// and unique local ones.
	private = networks("127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16",
		"fe80::/10", "fc00::/7")
)

func networks(entries ...string) remote.Networks {
	n, err := remote.ParseNetworks(entries)
	if err != nil {
		panic(err) // a constant of this file
	}
	return n
}

// parseHosts reads the entries of allowed_hosts: addresses, ranges and names, or a word.
func parseHosts(entries []string) (keyless, error) {
	var k keyless
	for _, entry := range entries {
		switch {
		case strings.EqualFold(entry, noHosts) && len(entries) > 1:
			return k, errors.New(`"none" stands alone: remove it, or everything else`)
		case strings.EqualFold(entry, noHosts):
		case entry == anyHost:
			k.networks = append(k.networks, private...)
		default:
			n, err := remote.ParseNetworks([]string{entry})
			if err != nil && !isHostname(entry) {
				return k, fmt.Errorf("%w, nor the name of a host; for clients on this machine write 127.0.0.1 and ::1", err)
			}
			if err != nil {
				k.names = append(k.names, strings.ToLower(entry))
			}
			k.networks = append(k.networks, n...)
		}
	}
	if len(k.names) > 0 && len(k.networks) == 0 {
		return k, fmt.Errorf("%q is how clients call this server; add the addresses or ranges of those clients that need no key", k.names[0])
	}
	return k, nil
}

// isHostname reports whether s is the name of a host, "evosink" or "events.internal", and no mistyped address.
func isHostname(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyz0123456789-_"
	labels := strings.Split(strings.ToLower(s), ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, allowed) != "" {
			return false
		}
	}
	last := labels[len(labels)-1]
	return !strings.EqualFold(s, loopback) && len(s) <= 253 && strings.Trim(last, "0123456789") != ""
}

// check returns nil if the client of the request needs no key, else why it needs one. Not being at one of the addresses
// is the common case, and errElsewhere. All that can be forged by a client that is not a browser is checked too:
// proxies and tunnels hand on what their honest clients send.
func (k *keyless) check(r *http.Request, client remote.Client) error {
	switch {
	case !client.Known() && k.networks.Contains(client.Peer):
		return errors.New("it comes through a proxy that is not trusted to tell its address, or does not; see SERVER_TRUSTED_PROXIES (or WEBSOCKET_TRUSTED_PROXIES)")
	case !k.networks.Contains(client.Addr):
		return errElsewhere
	case !client.Proxied && !r.ProtoAtLeast(1, 1):
		return errors.New("it speaks HTTP/1.0, as proxies do")
	case !k.isOurs(r.Host):
		return fmt.Errorf("it calls this server %.128q, which is neither loopback nor in WEBSOCKET_ALLOWED_HOSTS", r.Host)
	}
	return k.checkPage(r)
}

// errElsewhere means that a client is at no address that needs no key.
var errElsewhere = errors.New("its address is not in WEBSOCKET_ALLOWED_HOSTS")

// isOurs reports whether host, with or without a port, is this server's as clients without a key may call it. Any other
// may be that of a page whose name was made to point here (DNS rebinding), or the outside of a tunnel.
func (k *keyless) isOurs(host string) bool {
	name, addr := splitHost(host)
	return name == loopback || slices.Contains(k.names, name) || loopbackOnly.Contains(addr) || k.networks.Contains(addr)
}

// checkPage returns nil if the request is not a browser's, or its page is one that needs no key.
func (k *keyless) checkPage(r *http.Request) error {
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
			return errors.New("a page of another site asked its browser for this")
		}
		return nil
	}
	if len(origins) == 1 && slices.Contains(k.origins, origins[0]) {
		return nil
	}
	u, err := url.Parse(origins[0])
	if err == nil && len(origins) == 1 && (u.Scheme == "http" || u.Scheme == "https") {
		name, addr := splitHost(u.Host)
		if name == loopback || slices.Contains(k.names, name) || loopbackOnly.Contains(addr) {
			return nil
		}
	}
	return fmt.Errorf("the page's origin %.128q is neither loopback nor named in CORS_ORIGIN", origins[0])
}

// splitHost returns the name in "name:port", in lower case, or the address in "1.2.3.4:5" or "[::1]:5".
func splitHost(host string) (name string, addr netip.Addr) {
	u := url.URL{Host: host}
	name = strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if addr, err := netip.ParseAddr(name); err == nil {
		return "", addr.Unmap()
	}
	return name, netip.Addr{}
}
