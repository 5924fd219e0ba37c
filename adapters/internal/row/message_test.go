package row

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
)

// encode returns metadata as it is stored.
func encode(m message.Metadata) []byte { return FromMessage(&message.Message{Metadata: m}).Metadata }

func TestMetadataComesBackAsItWasStored(t *testing.T) {
	for _, m := range []message.Metadata{
		{}, {"": ""}, {"event": "messages.upsert", "instance": "ação 日本", "empty": ""}, {"big": strings.Repeat("x", 1<<16), "nul": "a\x00b\xff"},
	} {
		got, err := decodeMetadata(encode(m))
		if err != nil || !maps.Equal(got, m) {
			t.Fatalf("got %v, %v, want %v", got, err, m)
		}
	}
}

func TestMalformedMetadataIsRefused(t *testing.T) {
	whole := encode(message.Metadata{"k": "v", "l": "w"})
	for n := range whole {
		if m, err := decodeMetadata(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes gave %v", n, len(whole), m)
		}
	}
	for name, b := range map[string][]byte{
		"trailing bytes":       append(bytes.Clone(whole), 0),
		"a key twice":          {2, 1, 'k', 0, 1, 'k', 0},
		"more than there is":   {200, 1, 0, 0},
		"a huge count":         {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"a huge length":        {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
		"a number without end": {0x80, 0x80, 0x80},
	} {
		if m, err := decodeMetadata(b); err == nil {
			t.Errorf("%s gave %v", name, m)
		}
	}
}

func FuzzDecodeMetadata(f *testing.F) {
	f.Add(encode(message.Metadata{}))
	f.Add(encode(message.Metadata{"event": "call", "instance": "a"}))
	f.Add([]byte{2, 1, 'k', 0, 1, 'k', 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMetadata(b)
		if err != nil {
			return
		}
		again, err := decodeMetadata(encode(m))
		if err != nil || !maps.Equal(again, m) {
			t.Fatalf("%x gave %v, which came back as %v, %v", b, m, again, err)
		}
	})
}
