package sink

import (
	"fmt"
	"strings"
)

// Escape returns a name as a broker's names can hold it that take ASCII letters, digits and the characters of punctuation: every other
// byte becomes _xHH, HH being its hexadecimal digits. The instance "Loja 1" is Loja_x201; to Evolution API such instances are out of
// reach. An underscore stays as it is, so an instance that is really called Loja_x201 has the same name.
func Escape(name, punctuation string) string {
	foreign := func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(punctuation, c))
	}
	if strings.IndexFunc(name, foreign) < 0 {
		return name
	}
	var b strings.Builder
	for _, c := range []byte(name) {
		if foreign(rune(c)) {
			fmt.Fprintf(&b, "_x%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
