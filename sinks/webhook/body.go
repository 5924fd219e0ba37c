package webhook

import (
	"bytes"
	"compress/gzip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/evosink/evosink/core/event"
)

// Format is how a body is written.
type Format string

// The formats.
const (
	Evolution   Format = "evolution"   // Evolution API's envelope (evolution.md 2.2), with the event's id behind it
	CloudEvents Format = "cloudevents" // CloudEvents 1.0, structured mode, JSON event format
)

// contentType of a body in that format.
func (f Format) contentType() string {
	if f == CloudEvents {
		return "application/cloudevents+json"
	}
	return "application/json"
}

var (
	// envelopeKeys are those of webhooks, in their order (evolution.md 2.2), and the id that Evolution API lacks.
	envelopeKeys = []string{"event", "instance", "data", "destination", "date_time", "sender", "server_url", "apikey", "id"}
	// errorKeys are those of the error webhook (evolution.md 3.9) without the global key, which nobody needs to receive.
	errorKeys = []string{"event", "instance", "data", "date_time", "server_url", "id"}
)

// envelope writes an event as h wants it. destination is for Evolution API's envelope.
func (h *hook) envelope(c event.Codec, e *event.Event, destination string) []byte {
	if !h.base64 {
		if data := withoutMedia(e.Data); len(data) != len(e.Data) {
			bare := *e
			bare.Data = data
			e = &bare
		}
	}
	dst := make([]byte, 0, len(e.Data)+1024)
	switch {
	case h.format == CloudEvents:
		return appendCloudEvent(dst, c, e)
	case h.name == errorsTarget:
		c.Keys = errorKeys
	default:
		c.Keys = envelopeKeys
	}
	return c.Append(dst, e, event.Extra{Key: "destination", Value: event.AppendString(nil, destination)})
}

// appendCloudEvent writes the event as a CloudEvent: type is the wire name, source the instance at its API, and
// sender, instance and apikey (if shown) are extension attributes. So is extra: the keys of the producer's envelope that
// evosink does not know, as a text that holds a JSON object, for the names and values of attributes are restricted.
func appendCloudEvent(dst []byte, c event.Codec, e *event.Event) []byte {
	attribute := func(name, value string) {
		if value != "" {
			dst = append(append(append(dst, '"'), name...), `":`...)
			dst = append(event.AppendString(dst, value), ',')
		}
	}
	dst = append(dst, `{"specversion":"1.0",`...)
	attribute("id", e.ID)
	attribute("source", strings.TrimSuffix(e.ServerURL, "/")+"/instance/"+url.PathEscape(e.Instance))
	attribute("type", e.Name)
	attribute("subject", e.Instance)
	attribute("time", e.Time.UTC().Format(time.RFC3339Nano))
	attribute("instance", e.Instance)
	attribute("sender", e.Sender)
	if c.ExposeAPIKey {
		attribute("apikey", e.APIKey)
	}
	if len(e.Extras) > 0 {
		attribute("extra", string(event.AppendJSON(nil, e.Extras)))
	}
	attribute("datacontenttype", "application/json")
	return append(event.AppendJSON(append(dst, `"data":`...), e.Data), '}')
}

// compressors are kept because each is most of a megabyte.
var compressors = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// compressed returns body in gzip's format.
func compressed(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w := compressors.Get().(*gzip.Writer)
	defer compressors.Put(w)
	w.Reset(&b)
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	err := w.Close()
	return b.Bytes(), err
}
