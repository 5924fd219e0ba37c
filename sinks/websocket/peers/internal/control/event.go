package control

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// Name is the name that socket.io servers emit events by.
const Name = "messages.upsert"

// Mark stands once in each event and nowhere else in what a server sends, so
// that events can be counted whatever a protocol wraps them in. Stamp decimal
// digits stand before it: when the event was emitted, in Unix nanoseconds.
const (
	Mark  = '~'
	Stamp = 19
)

// A Template makes events of one size: JSON of the shape of a message.
type Template struct {
	json []byte
	at   int // where the time stands in json
}

// NewTemplate returns the template of events of size bytes of JSON, or of the
// smallest event if that is larger.
func NewTemplate(size int) *Template {
	const head, tail = `{"event":"` + Name + `","data":{"text":"`, `"},"at":"`
	end := strings.Repeat("0", Stamp) + string(Mark) + `"}`
	words := max(0, size-len(head)-len(tail)-len(end))
	text := strings.Repeat("lorem ipsum ", words/12+1)[:words]
	return &Template{json: []byte(head + text + tail + end), at: len(head) + words + len(tail)}
}

// JSON returns an event of now, which is the caller's to keep.
func (t *Template) JSON() json.RawMessage {
	b := bytes.Clone(t.json)
	for i, now := t.at+Stamp-1, time.Now().UnixNano(); now > 0; i, now = i-1, now/10 {
		b[i] = byte('0' + now%10)
	}
	return b
}
