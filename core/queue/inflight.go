package queue

import "github.com/evosink/evosink/core/uses"

// inFlight bounds the bytes of the events that the attempts of one sink have in hand, of one instance and in all. While
// nothing is in hand one event may be, however large it is. The scheduler's lock guards it.
type inFlight struct {
	config  *Config
	bytes   int64
	of      uses.Counts[string, int64] // by instance
	waiting map[string][]*lane         // ready lanes that wait for their instance to have less in hand
}

// admits reports whether anything more may be taken in hand.
func (f *inFlight) admits() bool { return f.bytes == 0 || f.bytes < f.config.InFlightBytes }

// admitsOf reports whether an instance may take more in hand.
func (f *inFlight) admitsOf(instance string) bool {
	held := f.of[instance]
	return held == 0 || held < f.config.InFlightPerInstance
}

// fits reports whether an attempt that has nothing of a lane in hand yet may take so many bytes, of several events.
func (f *inFlight) fits(l *lane, bytes int64) bool {
	return bytes <= windowBytes && f.bytes+bytes <= f.config.InFlightBytes &&
		f.of[l.Instance]+bytes <= f.config.InFlightPerInstance
}

// set says that an attempt has so many bytes of a lane in hand, instead of what it was before.
func (f *inFlight) set(l *lane, bytes int64) {
	f.bytes += bytes - l.inHand
	f.of.Add(l.Instance, bytes-l.inHand)
	l.inHand = bytes
}

// expect returns how many bytes an attempt may take in hand of a lane, before its window is read: what is first in the
// window, or else all that waits, which is not less than its first event; but no more than an instance may have.
func (f *inFlight) expect(l *lane) int64 {
	if len(l.window) > 0 {
		return l.window[0].size
	}
	return min(l.bytes, f.config.InFlightPerInstance)
}

// wait has a lane that is ready wait until its instance has less in hand.
func (f *inFlight) wait(l *lane) {
	if f.waiting == nil {
		f.waiting = map[string][]*lane{}
	}
	f.waiting[l.Instance] = append(f.waiting[l.Instance], l)
}

// admitted takes the lanes of an instance that have waited, if it may take more in hand now.
func (f *inFlight) admitted(instance string) (lanes []*lane) {
	if len(f.waiting) == 0 || !f.admitsOf(instance) {
		return nil
	}
	lanes = f.waiting[instance]
	delete(f.waiting, instance)
	return lanes
}
