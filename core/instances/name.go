package instances

import (
	"fmt"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/evosink/evosink/core/event"
)

// ValidateNewName reports whether a new instance may have that name: what [event.ValidateInstance] allows, but for
// names that a reader cannot tell from another one. Those that exist already are left alone. Its errors wrap
// [event.ErrInvalid].
func ValidateNewName(name string) error {
	if err := event.ValidateInstance(name); err != nil {
		return fmt.Errorf("%w: %w", event.ErrInvalid, err)
	}
	for i, r := range name {
		what := ""
		switch {
		case unicode.Is(unicode.Bidi_Control, r):
			what = "changes the direction of the text"
		case unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
			what = "cannot be seen"
		case unicode.IsControl(r), r != ' ' && unicode.IsSpace(r), r == '\u2800': // the last is Braille without dots
			what = "looks like a space, or like nothing"
		}
		if what != "" {
			return fmt.Errorf("%w: instance must not contain the character U+%04X (at byte %d), which %s, "+
				"so that the name would look like another one", event.ErrInvalid, r, i, what)
		}
	}
	if !norm.NFC.IsNormalString(name) {
		return fmt.Errorf("%w: instance %+q is not in the normal form NFC of Unicode and would look like another name; "+
			"give it as %+q", event.ErrInvalid, name, norm.NFC.String(name))
	}
	return nil
}
