package crowd

import (
	"math"
	"sync/atomic"
	"time"
)

// perOctave is how many buckets a doubling has: a delay is known to 1 %.
const perOctave = 64

// Delays is how long events took from their emission to a client. The zero
// value is empty; it may be used by many goroutines.
type Delays struct {
	buckets [27 * perOctave]atomic.Int64 // of microseconds, up to two minutes
}

func (d *Delays) add(delay time.Duration) {
	bucket := perOctave * math.Log2(max(1, float64(delay.Microseconds())))
	d.buckets[min(int(bucket), len(d.buckets)-1)].Add(1)
}

// Quantile returns the delay that a share q of the events did not exceed, 0 if
// there are none.
func (d *Delays) Quantile(q float64) time.Duration {
	total := int64(0)
	for i := range d.buckets {
		total += d.buckets[i].Load()
	}
	rank := int64(math.Ceil(q * float64(total)))
	for i := range d.buckets {
		if rank -= d.buckets[i].Load(); rank <= 0 && total > 0 {
			return time.Duration(math.Exp2(float64(i+1)/perOctave) * float64(time.Microsecond))
		}
	}
	return 0
}

// reset forgets what there was.
func (d *Delays) reset() {
	for i := range d.buckets {
		d.buckets[i].Store(0)
	}
}
