package wire

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// Lines that never change.
var (
	Ping  = []byte(`{"type":"ping"}` + "\n")
	Drain = []byte(`{"type":"drain"}` + "\n")
)

// Init is the first line of a conversation. config is a JSON object; nil is sent as an empty one.
func Init(name, node string, config json.RawMessage) []byte {
	line := event.AppendString([]byte(`{"type":"init","protocol":1,"name":`), name)
	line = event.AppendString(append(line, `,"node":`...), node)
	if len(config) == 0 {
		config = json.RawMessage("{}")
	}
	return finish(event.AppendJSON(append(line, `,"config":`...), config))
}

// Error is the host's answer to a line that means nothing.
func Error(text string) []byte {
	return finish(event.AppendString([]byte(`{"type":"error","error":`), text))
}

// ID writes the number of a delivery as it stands in a line.
func ID(n uint64) string { return "d-" + strconv.FormatUint(n, 10) }

// Event is a delivery under the number n. The line is the caller's.
func Event(n uint64, d *sink.Delivery) []byte {
	e := d.Event
	line := make([]byte, 0, 320+len(d.Key)+len(e.Instance)+len(e.Name)+len(d.Settings)+len(e.Data)+len(e.Extras))
	line = strconv.AppendUint(append(line, `{"type":"event","id":"d-`...), n, 10)
	line = event.AppendString(append(line, `","key":`...), d.Key)
	line = strconv.AppendInt(append(line, `,"attempt":`...), int64(d.Attempt), 10)
	line = event.AppendString(append(line, `,"instance":`...), e.Instance)
	line = event.AppendString(append(line, `,"event":`...), e.Name)
	line = event.AppendString(append(line, `,"scope":`...), d.Scope.String())
	line = event.AppendString(append(line, `,"event_id":`...), e.ID)
	line = e.Time.UTC().AppendFormat(append(line, `,"date_time":"`...), "2006-01-02T15:04:05.000Z")
	line = appendUnlessEmpty(append(line, '"'), "sender", e.Sender)
	line = appendUnlessEmpty(line, "server_url", e.ServerURL)
	line = event.AppendJSON(append(line, `,"settings":`...), d.Settings)
	line = event.AppendJSON(append(line, `,"data":`...), e.Data)
	if len(e.Extras) > 0 {
		line = event.AppendJSON(append(line, `,"extra":`...), e.Extras)
	}
	return finish(line)
}

func appendUnlessEmpty(line []byte, key, value string) []byte {
	if value == "" {
		return line
	}
	return event.AppendString(append(event.AppendString(append(line, ','), key), ':'), value)
}

// separators are what ends a line somewhere: in JavaScript and in Python's text files beside the newline itself.
const separators = "\n\r\u2028\u2029"

// finish closes the object that line is, and makes one line of it. Outside of strings JSON has only \n and \r of these,
// as white space; inside it has only the others.
func finish(line []byte) []byte {
	line = append(line, '}')
	if !utf8.Valid(line) {
		line = bytes.ToValidUTF8(line, []byte("\ufffd"))
	}
	if bytes.IndexByte(line, '\n') < 0 && bytes.IndexByte(line, '\r') < 0 && !bytes.Contains(line, []byte("\xe2\x80")) {
		return append(line, '\n')
	}
	out := make([]byte, 0, len(line)+16)
	for len(line) > 0 {
		i := bytes.IndexAny(line, separators)
		if i < 0 {
			out = append(out, line...)
			break
		}
		r, size := utf8.DecodeRune(line[i:])
		out = append(out, line[:i]...)
		switch r {
		case '\u2028':
			out = append(out, `\u2028`...)
		case '\u2029':
			out = append(out, `\u2029`...)
		default:
			out = append(out, ' ')
		}
		line = line[i+size:]
	}
	return append(out, '\n')
}

// MaxWait bounds what a plugin may ask for with retry_after_ms.
const MaxWait = 24 * time.Hour
