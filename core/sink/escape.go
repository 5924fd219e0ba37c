package sink

import (
	"fmt"
	"strings"
)

// Escape returns a name as a broker's names can hold it that take ASCII letters, digits and the characters of
// punctuation: every other byte becomes _xHH, HH being its hexadecimal digits in capitals. The instance "Loja 1" is
// Loja_x201; to Evolution API such instances are out of reach. An underscore stays as it is unless what follows would
// make it read like an escape, so no two names give the same.
func Escape(name, punctuation string) string {
	return escape(name, punctuation, false)
}

// EscapeFirst is [Escape], but escapes the first byte in any case.
func EscapeFirst(name, punctuation string) string {
	return escape(name, punctuation, true)
}

func escape(name, punctuation string, first bool) string {
	legal := func(i int) bool {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		return (letter || strings.IndexByte(punctuation, c) >= 0) && !escapes(name[i:]) && !(first && i == 0)
	}
	clean := 0
	for clean < len(name) && legal(clean) {
		clean++
	}
	if clean == len(name) {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		if legal(i) {
			b.WriteByte(name[i])
		} else {
			fmt.Fprintf(&b, "_x%02X", name[i])
		}
	}
	return b.String()
}

// escapes reports whether s begins like an escape.
func escapes(s string) bool {
	digit := func(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }
	return len(s) >= 4 && s[0] == '_' && s[1] == 'x' && digit(s[2]) && digit(s[3])
}
