package webhook_test

import (
	"context"
	"encoding/binary"
	"encoding/csv"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evosink/evosink/config"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/webhook"
)

var quiet = log.New(io.Discard, "", 0)

func TestAddressesThatAreNotPublic(t *testing.T) {
	for _, a := range []string{
		"127.0.0.1", "127.255.0.1", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
		"169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.8", "192.0.2.1",
		"198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
		"::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "100::1", "2001:db8::1", "2001::1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
		"2002:7f00:1::", "2002:a00:1::1", "64:ff9b:1::1",
		"::ffff:0:127.0.0.1", "::ffff:0:10.0.0.1", "::ffff:0:8.8.8.8", // IPv4-translated
		"2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:127.0.0.1", "fe80::5efe:8.8.8.8", "2002:808:808::5efe:192.168.0.1", // ISATAP
		"::10.0.0.1", "::8.8.8.8", "2001:20::1", "3fff::1", "5f00::1", "4000::1", "fe80::1%eth0",
	} {
		if webhook.Public(a) {
			t.Errorf("%s is taken for public", a)
		}
	}
	for _, a := range []string{
		"1.1.1.1", "8.8.8.8", "172.32.0.1", "172.15.0.1", "100.63.0.1", "100.128.0.1", "169.253.0.1", "192.0.1.1", "223.255.255.1",
		"2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
		"2606:4700::5efe:8.8.8.8", "2606:4700::100:5efe:10.0.0.1", "2620:4f:8000::1", "192.31.196.1",
	} {
		if !webhook.Public(a) {
			t.Errorf("%s is refused", a)
		}
	}
}

func TestTheGuardLooksAtTheAddressThatIsDialled(t *testing.T) {
	r := newReceiver(t, nil)
	_, port, _ := net.SplitHostPort(r.Listener.Addr().String())
	names := resolver(map[string]string{"rebind.test.": "127.0.0.1", "mapped.test.": "::ffff:127.0.0.1"})
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "rebind.test", "mapped.test", "[::1]", "0.0.0.0"} {
		s := open(t, func(c *webhook.Config) {
			c.Guard.DenyPrivate = webhook.On
			c.SetResolver(names)
		})
		err := s.Deliver(t.Context(), delivery("instance", settingsFor("http://"+host+":"+port+"/", "")))
		wantText(t, err, "guard.deny_private denies it")
		if outcome(err) != "permanent" {
			t.Errorf("%s: %v is %s", host, err, outcome(err))
		}
	}
	if len(r.requests()) > 0 {
		t.Fatal("a request got by the guard")
	}
	s := open(t, func(c *webhook.Config) {
		c.Guard = webhook.Guard{DenyPrivate: webhook.On, Allow: webhook.Allow("127.0.0.0/8")}
		c.SetResolver(names)
	})
	if err := s.Deliver(t.Context(), delivery("instance", settingsFor("http://rebind.test:"+port, ""))); err != nil {
		t.Errorf("an exception is refused: %v", err)
	}
}

func TestTheGlobalWebhookIsNotGuarded(t *testing.T) {
	r := newReceiver(t, nil)
	s := open(t, func(c *webhook.Config) {
		c.Guard.DenyPrivate, c.GlobalEnabled, c.URL = webhook.On, true, r.URL
		c.Events = map[string]bool{"ALL": true}
	})
	if err := s.Deliver(t.Context(), delivery("global", nil)); err != nil {
		t.Error(err)
	}
}

// resolver answers from a table, and that there is no such name.
func resolver(names map[string]string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go answerName(theirs, names)
		return ours, nil
	}}
}

// answerName speaks DNS over a stream (RFC 1035, section 4): a length, then the message.
func answerName(conn net.Conn, names map[string]string) {
	defer conn.Close()
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return
	}
	query := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, query); err != nil {
		return
	}
	var name strings.Builder
	end := 12
	for query[end] != 0 {
		n := int(query[end])
		name.Write(query[end+1 : end+1+n])
		name.WriteByte('.')
		end += n + 1
	}
	end += 5 // the root, type and class
	kind := query[end-3]
	reply := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end]...)
	addr, err := netip.ParseAddr(names[name.String()])
	switch {
	case err != nil:
		reply[3] |= 3 // no such name
	case kind == 1 && addr.Is4() || kind == 28 && addr.Is6():
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, byte(len(addr.AsSlice())))
		reply = append(reply, addr.AsSlice()...)
	}
	binary.BigEndian.PutUint16(size[:], uint16(len(reply)))
	_, _ = conn.Write(append(size[:], reply...))
}

// reachable are blocks whose addresses may be public although they are not for the whole of them, or the other way
// round, and why.
var reachable = map[string]string{
	"192.0.0.9/32": "no receiver is there", "192.0.0.10/32": "no receiver is there", // in 192.0.0.0/24
	"2001:1::1/128": "no receiver is there", "2001:1::2/128": "no receiver is there", "2001:1::3/128": "no receiver is there", // in 2001::/23
	"2001:3::/32": "no receiver is there", "2001:4:112::/48": "no receiver is there", "2001:20::/28": "identifiers", "2001:30::/28": "identifiers",
	"::ffff:0:0/96": "what the IPv4 address is", "64:ff9b::/96": "what the IPv4 address is", "2002::/16": "what the IPv4 address is",
}

func TestTheGuardKnowsTheRegistriesOfSpecialAddresses(t *testing.T) {
	for file, want := range map[string]int{"testdata/iana-ipv4.csv": 25, "testdata/iana-ipv6.csv": 25} {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		table := csv.NewReader(f)
		table.Comment = '#'
		rows, err := table.ReadAll()
		if err != nil || len(rows) != want {
			t.Fatalf("%s has %d rows, want %d: %v", file, len(rows), want, err)
		}
		for _, row := range rows {
			block := netip.MustParsePrefix(row[0])
			if _, excepted := reachable[row[0]]; excepted {
				continue
			}
			for _, a := range within(block) {
				if got, want := webhook.Public(a.String()), row[2] == "True"; got != want {
					t.Errorf("%s of %s (%s): public is %v, globally reachable %s", a, row[0], row[1], got, row[2])
				}
			}
		}
	}
}

// within returns the first address of a block, the last, and some between them.
func within(p netip.Prefix) (out []netip.Addr) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 50 {
		b := p.Addr().AsSlice()
		for bit := p.Bits(); bit < len(b)*8; bit++ {
			if i == 1 || i > 1 && rng.IntN(2) == 1 {
				b[bit/8] |= 0x80 >> (bit % 8)
			}
		}
		a, _ := netip.AddrFromSlice(b)
		out = append(out, a)
	}
	return out
}

func TestExceptionsToTheGuard(t *testing.T) {
	r := newReceiver(t, nil)
	_, port, _ := net.SplitHostPort(r.Listener.Addr().String())
	names := resolver(map[string]string{"n8n.test.": "127.0.0.1", "other.test.": "127.0.0.1"})
	for _, c := range []struct{ allow, host, want string }{
		{"n8n.test", "n8n.test", "done"}, {"N8N.test.", "n8n.test", "done"}, {"n8n.test:PORT", "n8n.test", "done"}, {"n8n.test:1", "n8n.test", "permanent"},
		{"n8n.test", "other.test", "permanent"}, {"test", "n8n.test", "permanent"}, {"n8n.test", "127.0.0.1", "permanent"},
		{"127.0.0.1", "other.test", "done"}, {"127.0.0.1:PORT", "other.test", "done"}, {"127.0.0.1:1", "other.test", "permanent"},
		{"127.0.0.0/8:PORT", "127.0.0.1", "done"}, {"127.0.0.0/8:1", "127.0.0.1", "permanent"}, {"10.0.0.0/8", "127.0.0.1", "permanent"},
		{"::ffff:127.0.0.1", "127.0.0.1", "done"}, {"[::ffff:127.0.0.1]:PORT", "127.0.0.1", "done"}, {"[fd00::/8]:PORT", "127.0.0.1", "permanent"},
	} {
		s := open(t, func(cfg *webhook.Config) {
			cfg.Guard = webhook.Guard{DenyPrivate: webhook.On, Allow: webhook.Allow(strings.Replace(c.allow, "PORT", port, 1))}
			cfg.SetResolver(names)
		})
		if err := s.Deliver(t.Context(), delivery("instance", settingsFor("http://"+c.host+":"+port, ""))); outcome(err) != c.want {
			t.Errorf("%s to %s: %v, want %s", c.allow, c.host, err, c.want)
		}
	}
	for _, bad := range []string{"", ":80", "host:", "host:0", "host:65536", "host:x", "10.0.0.0/33", "[::1", "[::1]80", "http://host", "a b", "10.0.0.256", "*", "host/8", "::1:"} {
		if err := new(webhook.Exception).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	for _, text := range []string{"n8n", "n8n:5678", "10.0.0.1", "10.1.0.0/16", "10.1.0.0/16:80", "fd00::1", "[fd00::1]:80", "fd00::/8", "[fd00::/8]:443"} {
		if got, _ := webhook.Allow(text)[0].MarshalText(); string(got) != text {
			t.Errorf("%s is written as %s", text, got)
		}
	}
}

func TestTheGuardIsOnUnlessTheServerListensOnLoopbackOnly(t *testing.T) {
	r := newReceiver(t, nil)
	for _, c := range []struct {
		host string
		deny webhook.Switch
		want string
	}{
		{"127.0.0.1", webhook.Auto, "done"}, {"localhost", webhook.Auto, "done"}, {"::1", webhook.Auto, "done"}, {"127.0.0.1", webhook.On, "permanent"},
		{"", webhook.Auto, "permanent"}, {"0.0.0.0", webhook.Auto, "permanent"}, {"::", webhook.Auto, "permanent"}, {"192.168.1.5", webhook.Auto, "permanent"},
		{"", webhook.Off, "done"}, {"0.0.0.0", webhook.Off, "done"},
	} {
		s := open(t, func(cfg *webhook.Config) { cfg.Server.Host, cfg.Guard.DenyPrivate = c.host, c.deny })
		if err := s.Deliver(t.Context(), delivery("instance", settingsFor(r.URL, ""))); outcome(err) != c.want {
			t.Errorf("%q, %v: %v, want %s", c.host, c.deny, err, c.want)
		}
	}
}

func TestTheSwitchOfTheGuardInEveryWay(t *testing.T) {
	for text, want := range map[string]webhook.Switch{"auto": webhook.Auto, "true": webhook.On, "1": webhook.On, "false": webhook.Off, "off": webhook.Off} {
		if c, _, err := load(t, "WEBHOOK_DENY_PRIVATE="+text, "WEBHOOK_ALLOW_ADDRESSES=n8n:5678, 10.1.0.0/16"); err != nil || c.Guard.DenyPrivate != want || len(c.Guard.Allow) != 2 {
			t.Errorf("%s: %+v, %v", text, c.Guard, err)
		}
	}
	dir, c := t.TempDir(), webhook.Defaults()
	file := "sinks:\n  webhook:\n    guard:\n      deny_private: true\n      allow: [n8n, '10.1.0.0/16:80']\n"
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	sections := []config.Section{{Path: "sinks.webhook", Into: &c}}
	if _, err := config.Load(config.Options{Sections: sections, Dir: dir}); err != nil || c.Guard.DenyPrivate != webhook.On || len(c.Guard.Allow) != 2 {
		t.Errorf("from a file: %+v, %v", c.Guard, err)
	}
	for _, env := range []string{"WEBHOOK_DENY_PRIVATE=perhaps", "WEBHOOK_ALLOW_ADDRESSES=http://n8n"} {
		if _, _, err := load(t, env); err == nil {
			t.Errorf("%s is taken", env)
		}
	}
}

func TestAnInstanceCannotChooseTheHost(t *testing.T) {
	r := newReceiver(t, nil)
	host := r.Listener.Addr().String()
	s := open(t, func(c *webhook.Config) {
		c.GlobalEnabled, c.URL, c.Events, c.Headers = true, r.URL, map[string]bool{"ALL": true}, map[string]string{"host": "virtual.example"}
	})
	if err := s.Deliver(t.Context(), delivery("instance", settingsFor(r.URL, `,"headers":{"host":"internal.example"}`))); outcome(err) != "permanent" {
		t.Errorf("an instance's: %v", err)
	}
	for _, c := range []struct {
		target sink.Target
		header string
		want   string
	}{{"instance", host, host}, {"global", "", "virtual.example"}} {
		r.forget()
		if err := s.Deliver(t.Context(), delivery(c.target, settingsFor(r.URL, `,"headers":{"Host":"`+c.header+`"}`))); err != nil {
			t.Fatal(err)
		}
		if got := r.requests()[0].Host; got != c.want {
			t.Errorf("%s: Host is %s, want %s", c.target, got, c.want)
		}
	}
	_, err := normalize(`{"enabled":true,"url":"https://app.example/x","headers":{"HOST":"internal.example"}}`, "")
	wantText(t, err, `headers["Host"] must be the URL's, "app.example"`)
	for _, same := range []string{"app.example", "APP.example", "app.example:443"} {
		if _, err := normalize(`{"enabled":true,"url":"https://app.example/x","headers":{"Host":"`+same+`"}}`, ""); err != nil {
			t.Errorf("%s: %v", same, err)
		}
	}
}

func TestANameOnTheListenersPortIsLookedUp(t *testing.T) {
	c := webhook.Defaults()
	c.GlobalEnabled, c.Server = true, webhook.Server{Port: 8080}
	c.SetResolver(resolver(map[string]string{"evosink.test.": "127.0.0.1", "api.test.": "192.0.2.1"}))
	for url, loop := range map[string]bool{
		"http://evosink.test:8080/ingest/evolution": true, "http://evosink.test:8081/": false, "http://evosink.test/": false,
		"http://api.test:8080/": false, "http://unknown.test:8080/": false,
	} {
		c.URL = url
		if err := c.Validate(); (err != nil) != loop {
			t.Errorf("%s: %v", url, err)
		}
	}
	c.Server.Host, c.URL = "192.0.2.7", "http://evosink.test:8080/" // the listener is not on loopback
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}
