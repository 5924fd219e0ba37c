package parser

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// The form in which a placeholder is written. These bytes cannot stand within
// a JSON string, whose quotes are escaped, so finding them finds placeholders.
const (
	placeholderHead = `{"_placeholder":true,"num":`
	placeholderTail = '}'
)

var (
	placeholderMark = []byte(placeholderHead)
	placeholderZero = Placeholder(0)
)

// Placeholder returns the JSON that stands in an argument where its
// attachment i belongs.
func Placeholder(i int) json.RawMessage { return appendPlaceholder(nil, i) }

func appendPlaceholder(dst []byte, i int) []byte {
	dst = append(dst, placeholderHead...)
	dst = strconv.AppendInt(dst, int64(i), 10)
	return append(dst, placeholderTail)
}

// An element is one argument as it came, with the placeholders in it.
type element struct {
	json   json.RawMessage
	places []place
}

// place is where in an element's JSON an attachment belongs.
type place struct{ from, to, num int }

// findPlaceholders looks for placeholders in any form: other order of keys,
// further keys, escapes. One whose num is not the index of an attachment is an
// error (CVE-2022-2421).
func findPlaceholders(parts []json.RawMessage, attachments int) ([]element, error) {
	elements := make([]element, len(parts))
	for i, part := range parts {
		places := (&placeFinder{json: part}).find()
		for _, p := range places {
			if p.num < 0 || p.num >= attachments {
				return nil, fmt.Errorf("placeholder: %w", ErrMalformed)
			}
		}
		elements[i] = element{part, places}
	}
	return elements, nil
}

// bind returns the elements as arguments: placeholders in the written form,
// numbered by appearance within each argument.
func bind(elements []element, received [][]byte) []Arg {
	args := make([]Arg, len(elements))
	for i, e := range elements {
		args[i] = e.bind(received)
	}
	return args
}

func (e element) bind(received [][]byte) Arg {
	if len(e.places) == 0 {
		return Arg{JSON: e.json}
	}
	arg := Arg{JSON: make([]byte, 0, len(e.json)+8)}
	from := 0
	for i, p := range e.places {
		arg.JSON = append(arg.JSON, e.json[from:p.from]...)
		arg.JSON = appendPlaceholder(arg.JSON, i)
		arg.Attachments = append(arg.Attachments, received[p.num])
		from = p.to
	}
	arg.JSON = append(arg.JSON, e.json[from:]...)
	return arg
}

// eachPlaceholder calls f for every placeholder in the written form whose
// number is an index of a's attachments, in order.
func (a Arg) eachPlaceholder(f func(from, to, num int)) {
	if len(a.Attachments) == 0 {
		return
	}
	for at := 0; ; {
		i := bytes.Index(a.JSON[at:], placeholderMark)
		if i < 0 {
			return
		}
		from := at + i
		at = from + len(placeholderMark)
		n := digits(a.JSON[at:])
		num, err := strconv.Atoi(string(a.JSON[at : at+n]))
		at += n
		if err != nil || num >= len(a.Attachments) || at == len(a.JSON) || a.JSON[at] != placeholderTail {
			continue
		}
		at++
		f(from, at, num)
	}
}
