package pusher

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

// heavy are the keys that an event loses when it is too large: images and media, for which a client can ask the API.
var heavy = map[string]bool{"base64": true, "jpegThumbnail": true}

// maxDepth bounds the work: each level reads what is below it again.
const maxDepth = 32

// qrEvent is the event whose image Pusher's clients never get, as in Evolution API (evolution.md 3.6).
const qrEvent = "qrcode.updated"

// fit returns the envelope of an event within limit bytes. What is left out is left out of a copy:
//
//  1. data.qrcode.base64 of qrcode.updated, always
//  2. if that is too large, everything under the keys base64 and jpegThumbnail, down to maxDepth
//
// An event that is still too large is a permanent failure.
func (s *Sink) fit(d *sink.Delivery, destination string) ([]byte, error) {
	e := d.Event
	if e.Name == qrEvent {
		e = with(e, reduce(e.Data, 2))
	}
	extra := event.Extra{Key: "destination", Value: event.AppendString(nil, destination)}
	body := s.codec.Append(make([]byte, 0, len(e.Data)+512), e, extra)
	if len(body) <= s.config.MaxEventBytes {
		return body, nil
	}
	body = s.codec.Append(body[:0], with(e, reduce(e.Data, maxDepth)), extra)
	if len(body) <= s.config.MaxEventBytes {
		return body, nil
	}
	return nil, sink.Permanent(fmt.Errorf("the event has %d bytes without images and media, max_event_bytes is %d (Pusher takes 10240; a server of your own may take more)", len(body), s.config.MaxEventBytes))
}

// with returns a copy of e with other data.
func with(e *event.Event, data json.RawMessage) *event.Event {
	c := *e
	c.Data = data
	return &c
}

// reduce returns data without heavy keys down to the depth given, 1 being those of data itself. Data that holds
// none comes back as it is.
func reduce(data json.RawMessage, depth int) json.RawMessage {
	if depth == 0 || !bytes.Contains(data, []byte("base64")) && !bytes.Contains(data, []byte("jpegThumbnail")) {
		return data
	}
	switch first := bytes.TrimLeft(data, " \t\r\n"); {
	case len(first) > 0 && first[0] == '{':
		return reduceObject(data, depth)
	case len(first) > 0 && first[0] == '[':
		return reduceList(data, depth)
	}
	return data
}

func reduceObject(data json.RawMessage, depth int) json.RawMessage {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return data
	}
	for key, value := range members {
		if heavy[key] {
			delete(members, key)
			continue
		}
		members[key] = reduce(value, depth-1)
	}
	return encode(members, data)
}

func reduceList(data json.RawMessage, depth int) json.RawMessage {
	var items []json.RawMessage
	if err := json.Unmarshal(data, &items); err != nil {
		return data
	}
	for i, item := range items {
		items[i] = reduce(item, depth-1)
	}
	return encode(items, data)
}

// encode returns v as JSON, without the escapes for HTML; data if that cannot be.
func encode(v any, data json.RawMessage) json.RawMessage {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return data
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
