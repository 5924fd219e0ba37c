package packet_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/evosink/evosink/sinks/websocket/engineio/packet"
)

func text(t packet.Type, data string) packet.Packet {
	return packet.Packet{Type: t, Data: []byte(data)}
}

func blob(data string) packet.Packet {
	return packet.Packet{Type: packet.Message, Binary: true, Data: []byte(data)}
}

func equal(a, b packet.Packet) bool {
	return a.Type == b.Type && a.Binary == b.Binary && bytes.Equal(a.Data, b.Data)
}

var (
	v3    = packet.Dialect{Revision: packet.V3}
	v3b64 = packet.Dialect{Revision: packet.V3, Base64: true}
	v4    = packet.Dialect{Revision: packet.V4}
	v4b64 = packet.Dialect{Revision: packet.V4, Base64: true}
)

func TestPacketsStandOnWebSocketsAsTheProtocolSays(t *testing.T) {
	tests := []struct {
		name    string
		dialect packet.Dialect
		packet  packet.Packet
		wire    string
		binary  bool
	}{
		{"text", v4, text(packet.Message, "hello"), "4hello", false},
		{"no data", v4, text(packet.Ping, ""), "2", false},
		{"probe", v3, text(packet.Pong, "probe"), "3probe", false},
		{"v4 binary", v4, blob("\x01\x02"), "\x01\x02", true},
		{"v4 empty binary", v4, blob(""), "", true},
		{"v3 binary", v3, blob("\x01\x02"), "\x04\x01\x02", true},
		{"v4 base64", v4b64, blob("\x01\x02\x03\x04"), "bAQIDBA==", false},
		{"v3 base64", v3b64, blob("\x01\x02\x03\x04"), "b4AQIDBA==", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wire := test.dialect.Append(nil, test.packet)
			if string(wire) != test.wire || test.dialect.IsText(test.packet) == test.binary {
				t.Errorf("encoded as %q", wire)
			}
			if n := test.dialect.Size(test.packet); n != len(wire) {
				t.Errorf("size is %d, want %d", n, len(wire))
			}
			if p, err := test.dialect.Revision.Decode(wire, test.binary); err != nil || !equal(p, test.packet) {
				t.Errorf("decoded as %+v, %v", p, err)
			}
		})
	}
}

func TestWhatIsNoPacketIsInvalid(t *testing.T) {
	tests := []struct {
		name     string
		revision packet.Revision
		wire     string
		binary   bool
	}{
		{"empty text", packet.V4, "", false},
		{"empty v3 binary", packet.V3, "", true},
		{"type 7", packet.V4, "7", false},
		{"a letter", packet.V4, "abc", false},
		{"a slash", packet.V4, "/", false},
		{"v3 binary type 7", packet.V3, "\x07x", true},
		{"malformed base64", packet.V4, "b!", false},
		{"one base64 character", packet.V4, "bA", false},
		{"v3 base64 without type", packet.V3, "b", false},
		{"v3 base64 of type x", packet.V3, "bxAQ==", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if p, err := test.revision.Decode([]byte(test.wire), test.binary); !errors.Is(err, packet.ErrInvalid) {
				t.Errorf("decoded as %+v, %v", p, err)
			}
		})
	}
}

// decodePayload reads payload up to its first error.
func decodePayload(r packet.Revision, payload string, binary bool) (packets []packet.Packet, err error) {
	for p, err := range r.Packets([]byte(payload), binary) {
		if err != nil {
			return packets, err
		}
		packets = append(packets, p)
	}
	return packets, nil
}

func TestPayloadsRoundTrip(t *testing.T) {
	tests := []struct {
		name    string
		dialect packet.Dialect
		packets []packet.Packet
		wire    string
		binary  bool
	}{
		{"v4", v4, []packet.Packet{text(packet.Message, "hello"), text(packet.Ping, ""), text(packet.Message, "€")}, "4hello\x1e2\x1e4€", false},
		{"v4 binary", v4, []packet.Packet{text(packet.Message, "a"), blob("\x01\x02\x03\x04")}, "4a\x1ebAQIDBA==", false},
		{"v3", v3, []packet.Packet{text(packet.Message, "hello"), text(packet.Message, "€")}, "6:4hello2:4€", false},
		{"v3 surrogates", v3, []packet.Packet{text(packet.Message, "😀"), text(packet.Pong, "")}, "3:4😀1:3", false},
		{"v3 base64", v3b64, []packet.Packet{text(packet.Message, "a"), blob("\x01\x02\x03\x04")}, "2:4a10:b4AQIDBA==", false},
		{"v3 binary", v3, []packet.Packet{text(packet.Message, "€"), blob("\x01\x02\x03\x04")}, "\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04", true},
		{"v3 binary of two digits", v3, []packet.Packet{blob("0123456789")}, "\x01\x01\x01\xff\x040123456789", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wire, binary := test.dialect.AppendPayload(nil, test.packets)
			if string(wire) != test.wire || binary != test.binary {
				t.Errorf("encoded as %q (binary %v)", wire, binary)
			}
			packets, err := decodePayload(test.dialect.Revision, test.wire, test.binary)
			if err != nil || !slices.EqualFunc(packets, test.packets, equal) {
				t.Errorf("decoded as %+v, %v", packets, err)
			}
		})
	}
}

func TestTheFirstFaultEndsAPayload(t *testing.T) {
	digits := strings.Repeat("0", 310)
	tests := []struct {
		name     string
		revision packet.Revision
		payload  string
		binary   bool
		before   int // packets that come out first
	}{
		{"v4 empty", packet.V4, "", false, 0},
		{"v4 leading separator", packet.V4, "\x1e4a", false, 0},
		{"v4 trailing separator", packet.V4, "4a\x1e", false, 1},
		{"v4 unknown type", packet.V4, "4a\x1eabc\x1e4b", false, 1},
		{"v3 empty", packet.V3, "", false, 0},
		{"v3 without length", packet.V3, ":4a", false, 0},
		{"v3 negative", packet.V3, "-1:4a", false, 0},
		{"v3 no number", packet.V3, "NaN:4a", false, 0},
		{"v3 hexadecimal", packet.V3, "0x2:4a", false, 0},
		{"v3 too long", packet.V3, "3:4a", false, 0},
		{"v3 far too long", packet.V3, "99999999999999999999999:4a", false, 0},
		{"v3 too short", packet.V3, "1:4a", false, 1},
		{"v3 garbage behind", packet.V3, "2:4axyz", false, 1},
		{"v3 endless length", packet.V3, digits + "1:4a", false, 0},
		{"v3 cut in a surrogate pair", packet.V3, "2:4😀", false, 0},
		{"v3 binary empty", packet.V3, "", true, 0},
		{"v3 binary marker", packet.V3, "\x02\x02\xff4a", true, 0},
		{"v3 binary without length", packet.V3, "\x00\xff4a", true, 0},
		{"v3 binary digit", packet.V3, "\x00\x0a\xff4a", true, 0},
		{"v3 binary endless length", packet.V3, "\x00" + strings.Repeat("\x00", 311) + "\xff", true, 0},
		{"v3 binary too long", packet.V3, "\x00\x03\xff4a", true, 0},
		{"v3 binary text not UTF-8", packet.V3, "\x00\x02\xff4\xc3", true, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			packets, err := decodePayload(test.revision, test.payload, test.binary)
			if !errors.Is(err, packet.ErrInvalid) || len(packets) != test.before {
				t.Errorf("%d packets, %v", len(packets), err)
			}
		})
	}
}

func TestLengthsOf310DigitsAreRead(t *testing.T) {
	packets, err := decodePayload(packet.V3, strings.Repeat("0", 309)+"2:4a", false)
	if err != nil || len(packets) != 1 {
		t.Errorf("%d packets, %v", len(packets), err)
	}
}

// FuzzDecode checks that decoding never panics and that what it accepts
// survives encoding.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"4hello", "2probe", "b4AQIDBA==", "bAQIDBA==", "\x04\x01", "", "7", "b", "4\xff"} {
		f.Add([]byte(seed), true, true)
		f.Add([]byte(seed), false, false)
	}
	f.Fuzz(func(t *testing.T, wire []byte, third, binary bool) {
		dialect := v4
		if third {
			dialect = v3
		}
		p, err := dialect.Revision.Decode(wire, binary)
		if err != nil {
			return
		}
		if binary && p.Type != packet.Message { // never sent so
			p.Binary = false
		}
		again, err := dialect.Revision.Decode(dialect.Append(nil, p), !dialect.IsText(p))
		if err != nil || !equal(again, p) {
			t.Errorf("%+v becomes %+v, %v", p, again, err)
		}
	})
}

// FuzzPackets does the same for payloads.
func FuzzPackets(f *testing.F) {
	for _, seed := range []string{
		"4hello\x1e2\x1e4€", "4a\x1ebAQIDBA==", "6:4hello2:4€", "3:4😀1:3", "2:4a10:b4AQIDBA==",
		"\x00\x04\xff4€\x01\x05\xff\x04\x01\x02\x03\x04", "\x1e", "-1:4a", "999999999999999999999:4",
	} {
		f.Add([]byte(seed), true, true)
		f.Add([]byte(seed), true, false)
		f.Add([]byte(seed), false, false)
	}
	f.Fuzz(func(t *testing.T, payload []byte, third, binary bool) {
		dialect := v4
		if third {
			dialect = v3
		}
		binary = binary && third
		if !binary && !utf8.Valid(payload) {
			return // the caller has seen to that
		}
		packets, err := decodePayload(dialect.Revision, string(payload), binary)
		if err != nil || slices.ContainsFunc(packets, onlyFromPeers) {
			return
		}
		wire, binary := dialect.AppendPayload(nil, packets)
		again, err := decodePayload(dialect.Revision, string(wire), binary)
		if err != nil || !slices.EqualFunc(packets, again, equal) {
			t.Errorf("%+v becomes %+v, %v", packets, again, err)
		}
	})
}

// onlyFromPeers reports what a server cannot send: binary packets other than
// messages.
func onlyFromPeers(p packet.Packet) bool { return p.Binary && p.Type != packet.Message }

func BenchmarkAppendText(b *testing.B) {
	p := packet.Packet{Type: packet.Message, Data: bytes.Repeat([]byte("x"), 1024)}
	dst := make([]byte, 0, v4.Size(p))
	b.ReportAllocs()
	for b.Loop() {
		v4.Append(dst, p)
	}
}

func BenchmarkDecodeText(b *testing.B) {
	wire := v4.Append(nil, text(packet.Message, strings.Repeat("x", 1024)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := packet.V4.Decode(wire, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPayload(b *testing.B) {
	packets := slices.Repeat([]packet.Packet{text(packet.Message, strings.Repeat("x", 1024))}, 16)
	b.ReportAllocs()
	for b.Loop() {
		payload, _ := v4.AppendPayload(nil, packets)
		for _, err := range packet.V4.Packets(payload, false) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkDecodeBase64(b *testing.B) {
	wire := []byte("b" + base64.StdEncoding.EncodeToString(make([]byte, 1024)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := packet.V4.Decode(wire, false); err != nil {
			b.Fatal(err)
		}
	}
}
