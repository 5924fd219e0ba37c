package nats

import (
	"slices"
	"testing"
)

func TestAStreamIncludesEachPatternOnceWithoutOverlaps(t *testing.T) {
	for _, c := range []struct {
		subjects []string
		pattern  string
		want     []string
	}{
		{nil, "sales.>", []string{"sales.>"}},
		{[]string{"a.>"}, "b.>", []string{"a.>", "b.>"}},
		{[]string{"a.>", "b.>"}, "b.>", []string{"a.>", "b.>"}},
		{[]string{">"}, "b.>", []string{">"}},
		{[]string{"*.>"}, "b.>", []string{"*.>"}},
		{[]string{"*.call"}, "b.>", []string{"*.call", "b.>"}},
		{[]string{"*"}, ">", []string{">"}},
		{[]string{"messages.upsert", "call"}, "messages.>", []string{"call", "messages.>"}},
		{[]string{"shop.eu.>"}, "shop.>", []string{"shop.>"}},
		{[]string{"shop.>"}, "shop.eu.>", []string{"shop.>"}},
	} {
		if got := include(c.subjects, c.pattern); !slices.Equal(got, c.want) {
			t.Errorf("%v with %s: %v, want %v", c.subjects, c.pattern, got, c.want)
		}
	}
}
