package cli

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// A table is rows of cells in columns. What is in a cell came from elsewhere: it is cleaned, and cut.
type table struct{ w *tabwriter.Writer }

// newTable begins with the names of the columns, if there are any.
func newTable(w io.Writer, columns ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	if len(columns) > 0 {
		_, _ = fmt.Fprintln(t.w, strings.Join(columns, "\t")) // the tabwriter keeps the first error until flush
	}
	return t
}

// row adds a row. An empty cell, and a zero, is a dash.
func (t *table) row(cells ...any) {
	out := make([]string, len(cells))
	for i, cell := range cells {
		if out[i] = clean(fmt.Sprint(cell), maxCell); out[i] == "" || cell == 0 {
			out[i] = "-"
		}
	}
	_, _ = fmt.Fprintln(t.w, strings.Join(out, "\t"))
}

func (t *table) flush() error { return t.w.Flush() }

// maxCell is the length of a cell, in characters.
const maxCell = 80

// clean makes a text from elsewhere fit for a terminal: on one line, without control characters, at most limit characters long.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return unicode.ReplacementChar
	}, s)
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return s
}

// span writes a duration in seconds as people read it: "1.5s", "42s", "3m20s", "26h3m", "12d".
func span(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Hour:
		return d.Round(time.Second).String()
	case d < 72*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// clock writes a time to the second; "" if there is none.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// count writes a number with its noun: "1 lane", "3 lanes".
func count(n int, noun, nouns string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %s", n, nouns)
}
