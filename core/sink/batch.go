package sink

import "errors"

// A Batch is what of some deliveries can be sent, for a [Batcher]. M is the message of its client library.
type Batch[M any] struct {
	Messages []M
	errs     []error
	index    []int // of Messages, in the deliveries
}

// errBehind is the answer for what must not overtake.
var errBehind = errors.New("an event before it, of the same instance and target, cannot be sent")

// Prepare makes the messages of deliveries. Where prepare fails, nothing behind it of the same target and
// instance is sent.
func Prepare[M any](deliveries []*Delivery, prepare func(*Delivery) (M, error)) *Batch[M] {
	type lane struct {
		target       Target
		instance, id string
	}
	failed := map[lane]bool{}
	b := &Batch[M]{errs: make([]error, len(deliveries))}
	for i, d := range deliveries {
		l := lane{d.Target, d.Event.Instance, d.Event.InstanceID}
		if failed[l] {
			b.errs[i] = errBehind
			continue
		}
		m, err := prepare(d)
		if err != nil {
			b.errs[i], failed[l] = err, true
			continue
		}
		b.Messages, b.index = append(b.Messages, m), append(b.index, i)
	}
	return b
}

// Answer returns the answer to each delivery, errs being those to Messages.
func (b *Batch[M]) Answer(errs []error) []error {
	for i, err := range errs {
		b.errs[b.index[i]] = err
	}
	return b.errs
}

// FailAll is the answer of a [Batcher] that could send nothing.
func FailAll(deliveries []*Delivery, err error) []error {
	errs := make([]error, len(deliveries))
	for i := range errs {
		errs[i] = err
	}
	return errs
}
