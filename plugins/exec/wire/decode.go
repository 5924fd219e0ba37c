package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/evosink/evosink/core/event"
)

// A Type tells what a plugin says.
type Type uint8

// What a plugin may say.
const (
	Ready Type = iota + 1
	Ack
	Nack
	Log
	Pong
	Drained
)

var types = map[string]Type{"ready": Ready, "ack": Ack, "nack": Nack, "log": Log, "pong": Pong, "drained": Drained}

// A Reply is one line of a plugin. Which fields mean something depends on Type.
type Reply struct {
	Type Type

	Delivery uint64 // of ack and nack: the number given to [Event]

	Error       string // of nack: why, at most [MaxText] bytes of printable text
	Permanent   bool
	Unavailable bool
	RetryAfter  time.Duration // at most [MaxWait]
	HasRetry    bool          // RetryAfter was given

	Level string // of log: "debug", "info", "warn" or "error"
	Text  string // of log, at most [MaxText] bytes of printable text

	Protocol       int // of ready
	Scope          string
	MaxInFlight    int // 1 to [MaxInFlight]
	SettingsSchema json.RawMessage
	ConfigSchema   json.RawMessage
}

// line is a reply as it is written.
type line struct {
	Type         string          `json:"type"`
	ID           string          `json:"id"`
	Error        string          `json:"error"`
	Permanent    bool            `json:"permanent"`
	Unavailable  bool            `json:"unavailable"`
	RetryAfterMS *float64        `json:"retry_after_ms"`
	Level        string          `json:"level"`
	Msg          string          `json:"msg"`
	Protocol     int             `json:"protocol"`
	Scope        string          `json:"scope"`
	MaxInFlight  *int            `json:"max_in_flight"`
	Settings     json.RawMessage `json:"settings_schema"`
	Config       json.RawMessage `json:"config_schema"`
}

// Decode reads one line of a plugin, of at most [MaxReply] bytes, without its newline. The reply keeps nothing of b.
// Errors say to the plugin's author what is wrong, and hold nothing that would be unsafe to print.
func Decode(b []byte) (Reply, error) {
	if n, ok := plainAck(b); ok {
		return Reply{Type: Ack, Delivery: n}, nil
	}
	if len(b) > MaxReply {
		return Reply{}, fmt.Errorf("the line has %d bytes, at most %d are allowed", len(b), MaxReply)
	}
	var l line
	if err := event.Unmarshal(b, &l); err != nil {
		return Reply{}, explain(err)
	}
	r := Reply{Type: types[l.Type]}
	switch r.Type {
	case Ready:
		return r, l.ready(&r)
	case Ack, Nack:
		return r, l.answer(&r)
	case Log:
		r.Level, r.Text = level(l.Level), Printable([]byte(l.Msg))
	case Pong, Drained:
	default:
		if l.Type == "" {
			return r, errors.New(`"type" is missing`)
		}
		return r, fmt.Errorf("unknown type %.40q", l.Type)
	}
	return r, nil
}

var ackStart, ackEnd = []byte(`{"type":"ack","id":"d-`), []byte(`"}`)

// plainAck reads the line that is by far the most frequent, in the form that most languages write it in.
func plainAck(b []byte) (n uint64, ok bool) {
	digits, starts := bytes.CutPrefix(b, ackStart)
	digits, ends := bytes.CutSuffix(digits, ackEnd)
	if !starts || !ends || len(digits) > 19 {
		return 0, false
	}
	return number(digits)
}

// number reads decimal digits without leading zeros.
func number[T []byte | string](digits T) (n uint64, ok bool) {
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		n = n*10 + uint64(digits[i]-'0')
	}
	return n, true
}

func (l *line) answer(r *Reply) error {
	if l.ID == "" {
		return fmt.Errorf(`%s has no "id"; repeat the one of the event`, l.Type)
	}
	digits, ok := strings.CutPrefix(l.ID, "d-")
	if ok {
		r.Delivery, ok = number(digits)
	}
	if !ok {
		return fmt.Errorf("%s has the id %.40q, which no event had", l.Type, l.ID)
	}
	if r.Type == Ack {
		return nil
	}
	r.Error, r.Permanent, r.Unavailable = Printable([]byte(l.Error)), l.Permanent, l.Unavailable
	if l.RetryAfterMS != nil {
		ms := math.Min(math.Max(*l.RetryAfterMS, 0), float64(MaxWait/time.Millisecond))
		r.RetryAfter, r.HasRetry = time.Duration(ms*float64(time.Millisecond)), true
	}
	return nil
}

func (l *line) ready(r *Reply) error {
	r.Protocol, r.Scope, r.MaxInFlight = l.Protocol, l.Scope, DefaultMaxInFlight
	r.SettingsSchema, r.ConfigSchema = given(l.Settings), given(l.Config)
	switch {
	case l.Protocol == 0:
		return fmt.Errorf(`ready has no "protocol"; say which it speaks, like %d`, Protocol)
	case l.Protocol != Protocol:
		return fmt.Errorf("ready speaks protocol %d; this evosink speaks %d", l.Protocol, Protocol)
	case l.MaxInFlight != nil && *l.MaxInFlight < 1:
		return errors.New("ready: max_in_flight must be at least 1")
	case l.MaxInFlight != nil:
		r.MaxInFlight = min(*l.MaxInFlight, MaxInFlight)
	}
	return nil
}

// given takes null for nothing.
func given(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

func level(s string) string {
	switch s {
	case "debug", "warn", "error":
		return s
	case "warning":
		return "warn"
	}
	return "info"
}

// explain turns encoding/json's errors into words for a plugin's author.
func explain(err error) error {
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mismatch) && mismatch.Field != "":
		return fmt.Errorf("%q must not be a JSON %s", mismatch.Field, mismatch.Value)
	case errors.As(err, &mismatch):
		return fmt.Errorf("the line is a JSON %s, not an object", mismatch.Value)
	}
	return errors.New("the line is not JSON: standard output belongs to the protocol, print to standard error instead")
}

// Printable returns at most [MaxText] bytes of text from a plugin as something that is safe to log: valid UTF-8 without
// control characters.
func Printable(text []byte) string {
	cut := len(text) > MaxText
	text = text[:min(len(text), MaxText)]
	s := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(text), "\ufffd"))
	if s = strings.TrimSpace(s); cut {
		s += " …"
	}
	return s
}

// Quote shortens a line for a log.
func Quote(b []byte) string {
	const shown = 120
	return strconv.Quote(Printable(b[:min(len(b), shown)]))
}
