package config_test

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a type with its own text form, as sections may have them, a size: "1MiB", "64KB", "512" (bytes). KB, MB, GB,
// TB count in thousands, KiB, MiB, GiB, TiB in 1024; the unit may be written in any case and after a space.
type Bytes int64

// byteUnits is ordered for printing: the first unit that divides the size is used, so the
// largest come first, and those of 1024 before those of 1000. The bare B ends the list.
var byteUnits = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

// String prints the size in the largest unit that loses nothing: "1MiB", "1500B".
func (b Bytes) String() string {
	if b == 0 {
		return "0"
	}
	for _, u := range byteUnits {
		if int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText is String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText accepts what the type's comment says, whole numbers only.
func (b *Bytes) UnmarshalText(text []byte) error {
	number, size := splitUnit(strings.TrimSpace(string(text)))
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || size == 0 || n > math.MaxInt64/size || n < 0 {
		return fmt.Errorf("not a size: want a whole number of bytes, or one with a unit such as 64KB or 1MiB")
	}
	*b = Bytes(n * size)
	return nil
}

// splitUnit cuts "64 KB" into "64" and 1000; the size is 0 when the unit is unknown.
func splitUnit(s string) (number string, size int64) {
	end := strings.LastIndexAny(s, "0123456789") + 1
	unit := strings.TrimSpace(s[end:])
	if unit == "" {
		return s[:end], 1
	}
	for _, u := range byteUnits {
		if strings.EqualFold(u.name, unit) {
			return s[:end], u.size
		}
	}
	return s[:end], 0
}
