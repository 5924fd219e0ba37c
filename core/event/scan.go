package event

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects may be nested, as in encoding/json.
const maxDepth = 10_000

// A scan checks JSON and finds the ends of values in one pass. It takes exactly what encoding/json takes, which a fuzz
// test compares. Its methods take the index of a byte and return the one behind what they have read, -1 if that is not
// valid; they also take -1, and return it.
type scan struct {
	b      []byte
	depth  int  // of the arrays and objects around what is read
	broken bool // something read so far is not UTF-8; only in strings can it be that
}

// at returns the byte at i, 0 behind the last one: valid JSON has no such byte.
func (s *scan) at(i int) byte {
	if uint(i) < uint(len(s.b)) {
		return s.b[i]
	}
	return 0
}

// space skips white space.
func (s *scan) space(i int) int {
	for {
		switch s.at(i) {
		case ' ', '\t', '\r', '\n':
			i++
		default:
			return i
		}
	}
}

// value reads the value that begins at i.
func (s *scan) value(i int) int {
	var room [64]byte
	open := room[:0] // the brackets around i
	for {
		switch c := s.at(i); c {
		case '{', '[':
			if s.depth+len(open) == maxDepth {
				return -1
			}
			if i = s.space(i + 1); s.at(i) == c+2 { // both closing brackets stand two behind the opening ones
				i++
				break
			}
			if open = append(open, c); c == '{' {
				i = s.colon(s.str(i))
			}
			continue
		case '"':
			i = s.str(i)
		case 't':
			i = s.word(i, "true")
		case 'f':
			i = s.word(i, "false")
		case 'n':
			i = s.word(i, "null")
		default:
			i = s.number(i)
		}
		for more := false; !more; { // behind a value
			if i < 0 || len(open) == 0 {
				return i
			}
			last := len(open) - 1
			switch i = s.space(i); s.at(i) {
			case ',':
				if i = s.space(i + 1); open[last] == '{' {
					i = s.colon(s.str(i))
				}
				more = true
			case open[last] + 2:
				open = open[:last]
				i++
			default:
				return -1
			}
		}
	}
}

// colon reads what stands between a key and its value.
func (s *scan) colon(i int) int {
	if i = s.space(i); s.at(i) != ':' {
		return -1
	}
	return s.space(i + 1)
}

// Eight equal bytes: all 1, and the highest bit of each.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// str reads a string.
func (s *scan) str(i int) int {
	if s.at(i) != '"' {
		return -1
	}
	i++
	for {
		for len(s.b)-i >= 8 { // eight at once, up to the first that is a quote, a backslash, a control character or not ASCII
			x := binary.LittleEndian.Uint64(s.b[i:])
			// Subtracting n sets the highest bit of a byte below n. It may borrow from the bytes behind it, not from
			// those before.
			x = (x | (x - ones*0x20) | ((x ^ ones*'"') - ones) | ((x ^ ones*'\\') - ones)) & highs
			if x != 0 {
				i += bits.TrailingZeros64(x) / 8
				break
			}
			i += 8
		}
		switch c := s.at(i); {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = s.escape(i + 1); i < 0 {
				return -1
			}
		case c < 0x20:
			return -1
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(s.b[i:])
			s.broken = s.broken || r == utf8.RuneError && n == 1
			i += n
		}
	}
}

// escape reads what stands behind a backslash.
func (s *scan) escape(i int) int {
	switch s.at(i) {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		for k := 1; k <= 4; k++ {
			if c := s.at(i + k); !digit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return -1
			}
		}
		return i + 5
	}
	return -1
}

func (s *scan) word(i int, word string) int {
	if bytes.HasPrefix(s.b[i:], []byte(word)) {
		return i + len(word)
	}
	return -1
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func (s *scan) number(i int) int {
	digits := func(i int) int { // at least one
		if !digit(s.at(i)) {
			return -1
		}
		for digit(s.at(i)) {
			i++
		}
		return i
	}
	if s.at(i) == '-' {
		i++
	}
	if s.at(i) == '0' {
		i++
	} else {
		i = digits(i)
	}
	if s.at(i) == '.' {
		i = digits(i + 1)
	}
	if s.at(i)|0x20 == 'e' {
		if i++; s.at(i) == '+' || s.at(i) == '-' {
			i++
		}
		i = digits(i)
	}
	return i
}

// A member is one value of an object or array.
type member struct {
	quoted []byte // the key as it is written; nil in an array
	value  json.RawMessage
	utf8   bool // value is UTF-8 throughout
}

// each reads the object or array that begins at i, and calls visit for each member as soon as it is read: what follows
// may turn out not to be valid.
func (s *scan) each(i int, visit func(m member)) int {
	open := s.at(i)
	if i = s.space(i + 1); s.at(i) == open+2 {
		return i + 1
	}
	broken := s.broken
	s.depth++
	for {
		var m member
		if open == '{' {
			start := i
			if i = s.str(i); i < 0 {
				return -1
			}
			m.quoted, i = s.b[start:i], s.colon(i)
			broken = broken || s.broken
		}
		start := i
		s.broken = false
		if i = s.value(i); i < 0 {
			return -1
		}
		m.value, m.utf8 = s.b[start:i:i], !s.broken
		broken = broken || s.broken
		visit(m)
		switch i = s.space(i); s.at(i) {
		case ',':
			i = s.space(i + 1)
		case open + 2:
			s.depth--
			s.broken = broken
			return i + 1
		default:
			return -1
		}
	}
}

// An object is a JSON value that was read in one pass, with its members if it is an object.
type object struct {
	value   json.RawMessage
	members []member // of all that there are the first MaxKeys + 1
	memory  int      // bytes of the memory that value is in
}

// object reads the value that begins at i into o, whose memory for members it uses again.
func (s *scan) object(i int, o *object) int {
	if o.members == nil {
		o.members = make([]member, 0, len(Keys))
	}
	o.members = o.members[:0]
	end := 0
	if s.at(i) != '{' {
		end = s.value(i)
	} else {
		end = s.each(i, func(m member) {
			if len(o.members) <= MaxKeys {
				o.members = append(o.members, m)
			}
		})
	}
	if end >= 0 {
		o.value = s.b[i:end:end]
	}
	return end
}

// readObject reads b into o, all of it. Its error says what is not valid JSON there.
func readObject(b []byte, o *object) error {
	o.memory = cap(b)
	s := scan{b: b}
	if end := s.object(s.space(0), o); end < 0 || s.space(end) < len(b) {
		return fmt.Errorf("not valid JSON: %w", json.Unmarshal(b, new(json.RawMessage)))
	}
	return nil
}

// visit calls visit for each member with its key, as [Members] does.
func (o *object) visit(visit func(key string, m member) error) error {
	switch kind := JSONKind(o.value); kind {
	case "object":
	case "null":
		return nil
	default:
		return fmt.Errorf("expected a JSON object, got %s", kind)
	}
	var room [16]string
	keys := room[:0]
	for _, m := range o.members {
		key := keyOf(m.quoted)
		switch {
		case len(keys) == MaxKeys:
			return fmt.Errorf("the object has more than %d keys", MaxKeys)
		case slices.Contains(keys, key):
			return fmt.Errorf("%.80q is given twice", key)
		}
		keys = append(keys, key)
		if err := visit(key, m); err != nil {
			return err
		}
	}
	return nil
}

// valid reports whether b is one JSON value.
func valid(b []byte) bool {
	s := scan{b: b}
	end := s.value(s.space(0))
	return end >= 0 && s.space(end) == len(b)
}
