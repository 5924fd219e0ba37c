package config

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// setScalar puts raw, a text or a file's own number or bool, into v. It accepts what the
// shape of n allows and nothing near it; the error says what is accepted, and never shows a secret. unit
// is what a plain number counts in a duration, 0 when it means nothing there.
func (n *node) setScalar(v reflect.Value, raw any, unit time.Duration) error {
	if k := reflect.ValueOf(raw).Kind(); k == reflect.Map || k == reflect.Slice || raw == nil {
		return fmt.Errorf("a %s stands where a single value is expected", kindOf(raw))
	}
	switch n.shape {
	case shapeText:
		return setText(v, raw)
	case shapeString, shapeSecret:
		s, ok := raw.(string)
		if !ok {
			// YAML reads 0123 as 83 and 1e3 as 1000: a password must not change on the way.
			return fmt.Errorf("a %s stands where text is expected: put it in quotes", kindOf(raw))
		}
		v.SetString(s)
		return nil
	case shapeBool:
		b, err := parseBool(raw)
		v.SetBool(b)
		return err
	case shapeDuration:
		d, err := parseDuration(raw, unit)
		v.SetInt(int64(d))
		return err
	}
	return setNumber(v, n.shape, raw)
}

func setText(v reflect.Value, raw any) error {
	var text string
	switch raw.(type) {
	case string, bool, int, int64, uint64:
		text = fmt.Sprint(raw)
	default:
		return fmt.Errorf("a %s stands where text is expected: put it in quotes", kindOf(raw))
	}
	err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s is not accepted: %s", shown(raw), redactText(err.Error()))
}

// parseBool accepts what env files hold: true, yes, on and 1, and their opposites, in any case.
func parseBool(raw any) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(fmt.Sprint(raw))) {
	case "true", "1", "yes", "on":
		return true, nil
	case "false", "0", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("%s is not a bool: want true, false, 1, 0, yes, no, on or off", shown(raw))
}

// parseDuration accepts 30s, and a whole number where unit says what it counts.
func parseDuration(raw any, unit time.Duration) (time.Duration, error) {
	text := strings.TrimSpace(fmt.Sprint(raw))
	if unit != 0 && isWhole(text) {
		text += unit.String()[1:]
	}
	d, err := time.ParseDuration(text)
	if _, isText := raw.(string); err == nil && (isText || unit != 0 || text == "0") {
		return d, nil
	}
	if unit != 0 {
		return 0, fmt.Errorf("%s is not a duration: want a whole number of %s, or a number with a unit such as 30s", shown(raw), unitName(unit))
	}
	return 0, fmt.Errorf("%s is not a duration: want a number with a unit such as 500ms, 30s, 5m or 2h", shown(raw))
}

func isWhole(text string) bool {
	_, err := strconv.ParseInt(text, 10, 64)
	return err == nil
}

func unitName(unit time.Duration) string {
	switch unit {
	case time.Millisecond:
		return "milliseconds"
	case time.Second:
		return "seconds"
	}
	return unit.String()[1:]
}

// setNumber parses by v's own width, so that 70000 does not fit into a uint16.
func setNumber(v reflect.Value, s shape, raw any) error {
	text := strings.TrimSpace(fmt.Sprint(raw))
	if f, ok := raw.(float64); ok && s == shapeFloat {
		text = strconv.FormatFloat(f, 'g', -1, 64)
	}
	bits := v.Type().Bits()
	var err error
	switch s {
	case shapeInt:
		var i int64
		i, err = strconv.ParseInt(text, 10, bits)
		v.SetInt(i)
	case shapeUint:
		var u uint64
		u, err = strconv.ParseUint(text, 10, bits)
		v.SetUint(u)
	case shapeFloat:
		var f float64
		if f, err = strconv.ParseFloat(text, bits); err == nil && (math.IsNaN(f) || math.IsInf(f, 0)) {
			err = strconv.ErrRange
		}
		v.SetFloat(f)
	}
	if err == nil {
		return nil
	}
	if _, isBool := raw.(bool); !isBool && errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%s is out of range: want %s", shown(raw), numberRange(v.Type(), s))
	}
	return fmt.Errorf("%s is not a number: want %s", shown(raw), numberRange(v.Type(), s))
}

func numberRange(t reflect.Type, s shape) string {
	switch s {
	case shapeInt:
		top := uint64(1) << (t.Bits() - 1)
		return fmt.Sprintf("a whole number from -%d to %d", top, top-1)
	case shapeUint:
		return fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-t.Bits()))
	}
	return "a number such as 0.2"
}

// shown quotes a value for an error: without credentials, and not longer than a line.
func shown(raw any) string {
	const most = 64
	text := redactText(fmt.Sprint(raw))
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strconv.Quote(text)
}

// kindOf names what a file held, in the user's words.
func kindOf(raw any) string {
	switch raw.(type) {
	case string:
		return "text"
	case bool:
		return "bool"
	case int, int64, uint64, float64:
		return "number"
	case []any:
		return "list"
	case map[string]any, map[any]any:
		return "section"
	case nil:
		return "missing value"
	}
	return "date or time"
}
