package sqlite_test

import (
	"testing"

	"github.com/evosink/evosink/core/bus"
)

// BenchmarkErase erases an instance of 2,000 events of 1 KiB, half of a log.
func BenchmarkErase(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		db := benchDB(b)
		for range 2000 {
			for _, instance := range []string{"a", "b"} {
				if err := emit(db, instance); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.StartTimer()
		if n, left, err := db.EraseEvents(b.Context(), bus.Erasure{Instance: "a"}); n != 2000 || left || err != nil {
			b.Fatal(n, left, err)
		}
	}
}
