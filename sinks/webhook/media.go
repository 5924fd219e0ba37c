package webhook

import (
	"bytes"
	"encoding/json"
)

// withoutMedia returns data without message.base64, in which Evolution API puts a message's media. It copies; every other
// value keeps its bytes. Data that holds none is returned as it is.
func withoutMedia(data json.RawMessage) json.RawMessage {
	if !bytes.Contains(data, []byte(`"base64"`)) {
		return data
	}
	var out []byte
	from := 0
	for m := range members(data) {
		if string(m.key) != "message" {
			continue
		}
		if message, cut := withoutMember(m.value(data), "base64"); cut {
			out = append(append(out, data[from:m.start]...), message...)
			from = m.end
		}
	}
	if from == 0 {
		return data
	}
	return append(out, data[from:]...)
}

// withoutMember returns an object without the members of that name, and whether there were any.
func withoutMember(object []byte, name string) (out []byte, cut bool) {
	out = append(out, '{')
	for m := range members(object) {
		if string(m.key) == name {
			cut = true
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(append(out, '"'), m.key...), `":`...), m.value(object)...)
	}
	return append(out, '}'), cut
}

// member is a member of an object: its key as written between the quotes, and where its value stands.
type member struct {
	key        []byte
	start, end int
}

func (m member) value(object []byte) []byte { return object[m.start:m.end] }

// members walks over an object that is valid JSON, without decoding it: media are megabytes. It ends early where the
// JSON is not valid, and gives nothing for another value than an object.
func members(b []byte) func(yield func(member) bool) {
	return func(yield func(member) bool) {
		i := space(b, 0)
		if i >= len(b) || b[i] != '{' {
			return
		}
		for {
			var m member
			i = space(b, i+1)
			end := text(b, i)
			if end < 0 {
				return
			}
			m.key = b[i+1 : end-1]
			if i = space(b, end); i >= len(b) || b[i] != ':' {
				return
			}
			m.start = space(b, i+1)
			if m.end = value(b, m.start); m.end <= m.start {
				return
			}
			if !yield(m) {
				return
			}
			if i = space(b, m.end); i >= len(b) || b[i] != ',' {
				return
			}
		}
	}
}

// elements walks over the values of a list as members does over an object.
func elements(b []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		i := space(b, 0)
		if i >= len(b) || b[i] != '[' {
			return
		}
		for {
			start := space(b, i+1)
			end := value(b, start)
			if end <= start || !yield(b[start:end]) {
				return
			}
			if i = space(b, end); i >= len(b) || b[i] != ',' {
				return
			}
		}
	}
}

// space returns the next place that is no white space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// text returns the end of the string at i, or -1.
func text(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// value returns the end of the value at i, or -1.
func value(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			if i = text(b, i); i < 0 {
				return -1
			}
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		default:
			i++
			if depth == 0 && (i == len(b) || bytes.IndexByte([]byte(",]} \t\r\n"), b[i]) >= 0) {
				return i
			}
			continue
		}
		if depth == 0 {
			return i
		}
	}
	return -1
}
