package webhook

import (
	"bytes"
	"compress/gzip"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/evosink/evosink/core/event"
)

// Format is how a body is written.
type Format string

// The formats.
const (
	Evolution   Format = "evolution"   // Evolution API's envelope, with the event's id behind it
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
	// envelopeKeys are those of webhooks, in their order, and the id that Evolution API lacks.
	envelopeKeys = []string{"event", "instance", "data", "destination", "date_time", "sender", "server_url", "apikey", "id"}
	// errorKeys are those of the error webhook without the global key, which no receiver needs.
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
// evosink does not know, as a text that holds a JSON object, for the names and values of attributes are restricted. What
// no attribute may hold is left out of them (CloudEvents 1.0, Type System: String).
func appendCloudEvent(dst []byte, c event.Codec, e *event.Event) []byte {
	attribute := func(name, value string) {
		value = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) || r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef {
				return -1
			}
			return r
		}, value)
		if value != "" {
			dst = append(append(append(dst, '"'), name...), `":`...)
			dst = append(event.AppendString(dst, value), ',')
		}
	}
	dst = append(dst, `{"specversion":"1.0",`...)
	attribute("id", e.ID)
	attribute("source", source(e))
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

// source is the URI reference of the event's instance: at its API if server_url is a URL, which producers may set to
// anything, else without one. User, query and fragment of the URL do not tell instances apart, and may be secrets.
func source(e *event.Event) string {
	segment := "/instance/" + percentEncoded(e.Instance, "-._~")
	u, err := url.Parse(e.ServerURL)
	if err != nil || u.Scheme == "" || u.Hostname() == "" {
		return segment
	}
	host := percentEncoded(u.Host, "-._~!$&'()*+,;=:[]")
	return u.Scheme + "://" + host + strings.TrimSuffix(strict(u).EscapedPath(), "/") + segment
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
