package webhook_test

import (
	"context"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/netip"
	"strings"
	"testing"

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
	} {
		if webhook.Public(a) {
			t.Errorf("%s is taken for public", a)
		}
	}
	for _, a := range []string{
		"1.1.1.1", "8.8.8.8", "172.32.0.1", "172.15.0.1", "100.63.0.1", "100.128.0.1", "169.253.0.1", "192.0.1.1", "223.255.255.1",
		"2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
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
		wantText(t, err, "guard.deny_private is on")
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
