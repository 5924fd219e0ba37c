package remote_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"

	"github.com/evosink/evosink/core/sink/remote"
)

func request(peer string, headers ...string) *http.Request {
	r := &http.Request{RemoteAddr: peer, Header: http.Header{}}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestTheClientOfARequest(t *testing.T) {
	proxies, err := remote.ParseNetworks([]string{"10.0.0.0/8", "fd00::/8", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		r       *http.Request
		addr    string // "" if it cannot be known
		proxied bool
	}{
		{"direct", request("203.0.113.7:1"), "203.0.113.7", false},
		{"direct over mapped IPv6", request("[::ffff:203.0.113.7]:1"), "203.0.113.7", false},
		{"a stranger that names a client", request("203.0.113.7:1", "X-Forwarded-For", "127.0.0.1"), "", true},
		{"a stranger with a sign of a proxy", request("[::1]:1", "Via", "1.1 x"), "", true},
		{"a stranger with a header that only proxies add", request("[::1]:1", "X-Forwarded-Ssl", "on"), "", true},
		{"a tunnel of Cloudflare", request("[::1]:1", "Cf-Visitor", "{}"), "", true},
		{"a content network", request("127.0.0.2:1", "CDN-Loop", "x"), "", true},
		{"nginx as many set it up", request("127.0.0.2:1", "X-NginX-Proxy", "true"), "", true},
		{"ASP.NET's proxies", request("127.0.0.2:1", "X-Original-For", "127.0.0.1:80"), "", true},
		{"IIS", request("127.0.0.2:1", "X-ARR-LOG-ID", "x"), "", true},
		{"Tailscale", request("127.0.0.2:1", "Tailscale-User-Login", "x"), "", true},
		{"a header of a client's own", request("203.0.113.7:1", "X-Request-Id", "x"), "203.0.113.7", false},
		{"a trusted proxy that names no client", request("127.0.0.1:1"), "", true},
		{"a trusted proxy with an empty header", request("10.0.0.1:1", "X-Forwarded-For", " , "), "", true},
		{"a trusted proxy", request("10.0.0.1:1", "X-Forwarded-For", "203.0.113.7"), "203.0.113.7", true},
		{"two trusted proxies", request("10.0.0.1:1", "X-Forwarded-For", "1.1.1.1, 203.0.113.7, 10.0.0.2"), "203.0.113.7", true},
		{"two headers", request("10.0.0.1:1", "X-Forwarded-For", "203.0.113.7", "X-Forwarded-For", "10.0.0.2"), "203.0.113.7", true},
		{"with a port", request("10.0.0.1:1", "X-Forwarded-For", "203.0.113.7:4711"), "203.0.113.7", true},
		{"IPv6", request("10.0.0.1:1", "X-Forwarded-For", "2001:db8::1"), "2001:db8::1", true},
		{"IPv6 in brackets", request("10.0.0.1:1", "X-Forwarded-For", "[2001:db8::1]"), "2001:db8::1", true},
		{"IPv6 with a port", request("[fd00::1]:1", "X-Forwarded-For", "[2001:db8::1]:4711"), "2001:db8::1", true},
		{"a trailing comma", request("10.0.0.1:1", "X-Forwarded-For", "203.0.113.7,"), "203.0.113.7", true},
		{"loopback inside", request("10.0.0.1:1", "X-Forwarded-For", "127.0.0.1"), "", true},
		{"IPv6 loopback inside", request("10.0.0.1:1", "X-Forwarded-For", "::1"), "", true},
		{"mapped loopback inside", request("10.0.0.1:1", "X-Forwarded-For", "::ffff:127.0.0.2"), "", true},
		{"behind a forged one", request("10.0.0.1:1", "X-Forwarded-For", "127.0.0.1, 203.0.113.7"), "203.0.113.7", true},
		{"nonsense", request("10.0.0.1:1", "X-Forwarded-For", "unknown"), "", true},
		{"only proxies", request("10.0.0.1:1", "X-Forwarded-For", "10.0.0.3, 10.0.0.2"), "", true},
		{"no address at all", request("@"), "", true},
	} {
		got := remote.Resolve(c.r, proxies)
		want := netip.Addr{}
		if c.addr != "" {
			want = netip.MustParseAddr(c.addr)
		}
		if got.Addr != want || got.Proxied != c.proxied || got.Known() != (c.addr != "") {
			t.Errorf("%s: got %+v, want %v, proxied %v", c.name, got, want, c.proxied)
		}
	}
}

func TestClientsAreCountedByAddressAndIPv6Network(t *testing.T) {
	bucket := func(peer string, headers ...string) string {
		return remote.Resolve(request(peer, headers...), nil).Bucket().String()
	}
	for _, c := range [][2]string{
		{bucket("203.0.113.7:1"), "203.0.113.7/32"},
		{bucket("[::ffff:203.0.113.7]:9"), "203.0.113.7/32"},
		{bucket("[2001:db8:1:2:3::4]:1"), "2001:db8:1:2::/64"},
		{bucket("203.0.113.7:1", "X-Forwarded-For", "1.2.3.4"), "203.0.113.7/32"},
	} {
		if c[0] != c[1] {
			t.Errorf("got %s, want %s", c[0], c[1])
		}
	}
}

func TestALimiterBoundsItsMemoryAndStillLimits(t *testing.T) {
	l := remote.Limiter{Rate: 1e-9, Burst: 2, Buckets: 100}
	client := func(i int) remote.Client {
		return remote.Resolve(request(fmt.Sprintf("10.1.%d.%d:1", i/256, i%256)), nil)
	}
	for range 2 {
		if l.Exhausted(client(0)) || !l.Allow(client(0)) {
			t.Fatal("refused within the burst")
		}
	}
	if !l.Exhausted(client(0)) || l.Allow(client(0)) {
		t.Fatal("allowed beyond the burst")
	}
	allowed := 0
	for i := 1; i < 10_000; i++ {
		if l.Allow(client(i)) {
			allowed++
		}
	}
	if allowed != 99+2 { // 99 addresses are remembered besides the first, all further ones share a limit
		t.Fatalf("%d of 9,999 addresses were allowed", allowed)
	}
	if !l.Exhausted(client(9999)) {
		t.Fatal("addresses that are not remembered have no limit")
	}
}

func TestNetworksThatAreNone(t *testing.T) {
	for _, s := range []string{"", "localhost", "10.0.0", "10.0.0.0/33", "*"} {
		if _, err := remote.ParseNetworks([]string{s}); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}
