package parser

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// placeFinder walks one valid, compact JSON value and notes the objects with
// the member "_placeholder": true. The levels it is in are a slice, not a call
// stack.
type placeFinder struct {
	json   json.RawMessage
	levels []level
	places []place
}

// level is one array or object that is open.
type level struct {
	from   int
	object bool
	key    bool // the next string is a key
	holder bool // it says "_placeholder": true
	num    int  // its member "num", or noNum
}

const noNum = -1

// find returns the placeholders, outermost only, in order.
func (f *placeFinder) find() []place {
	if !f.likely() {
		return nil
	}
	for i := 0; i < len(f.json); i++ {
		switch f.json[i] {
		case '{':
			f.levels = append(f.levels, level{from: i, object: true, key: true, num: noNum})
		case '[':
			f.levels = append(f.levels, level{from: i})
		case '}', ']':
			f.close(i + 1)
		case ',':
			top := f.top()
			top.key = top.object
		case '"':
			i = f.text(i)
		}
	}
	return f.places
}

// likely reports whether there can be a placeholder at all; an escape may hide
// one.
func (f *placeFinder) likely() bool {
	return bytes.Contains(f.json, []byte(`_placeholder`)) || bytes.Contains(f.json, []byte(`\u`))
}

func (f *placeFinder) top() *level { return &f.levels[len(f.levels)-1] }

// text passes over the string that begins at i and returns where to go on. A
// key that matters is read together with its value, unless the value nests.
func (f *placeFinder) text(i int) int {
	end := stringEnd(f.json, i)
	if len(f.levels) == 0 || !f.top().key {
		return end
	}
	top := f.top()
	top.key = false
	value := f.json[end+len(`":`):]
	switch unquote(f.json[i : end+1]) {
	case "_placeholder":
		top.holder = bytes.HasPrefix(value, []byte("true"))
	case "num":
		top.num = index(value)
	}
	return end + len(`:`)
}

// close ends the innermost level before to. A placeholder swallows what was
// found within it.
func (f *placeFinder) close(to int) {
	top := *f.top()
	f.levels = f.levels[:len(f.levels)-1]
	if !top.holder {
		return
	}
	for n := len(f.places); n > 0 && f.places[n-1].from > top.from; n-- {
		f.places = f.places[:n-1]
	}
	f.places = append(f.places, place{top.from, to, top.num})
}

// index returns the number value begins with if it is a whole one that can be
// an index, else noNum.
func index(value []byte) int {
	end := bytes.IndexAny(value, ",}")
	n, err := strconv.ParseFloat(string(value[:end]), 64)
	if err != nil || n < 0 || n > math.MaxInt32 || n != math.Trunc(n) {
		return noNum
	}
	return int(n)
}
