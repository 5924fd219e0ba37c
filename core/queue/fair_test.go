package queue_test

import (
	"testing"

	"github.com/evosink/evosink/core/queue"
)

func TestExcessTakesFromThoseThatHaveMost(t *testing.T) {
	for _, c := range []struct {
		counts map[string]int
		most   int
		want   map[string]int
	}{
		{map[string]int{"a": 3, "b": 2}, 5, nil},
		{map[string]int{"a": 10}, 4, map[string]int{"a": 6}},
		{map[string]int{"a": 100, "b": 2}, 6, map[string]int{"a": 96}},
		{map[string]int{"a": 5, "b": 5}, 0, map[string]int{"a": 5, "b": 5}},
		{map[string]int{"a": 100, "b": 50, "c": 1}, 21, map[string]int{"a": 90, "b": 40}},
	} {
		got := queue.Excess(c.counts, c.most)
		want(t, "excess", got, c.want)
	}
	left, counts := 0, map[string]int{"a": 7, "b": 7, "c": 7}
	excess := queue.Excess(counts, 10)
	for instance, n := range counts {
		left += n - excess[instance]
	}
	want(t, "what is left", left, 10)
}
