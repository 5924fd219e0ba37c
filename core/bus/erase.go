package bus

import "context"

// An Erasure says whose data is removed for good: that of an instance, by its name and the id of its record.
type Erasure struct {
	Instance string // the name
	ID       string // of the instance's record; "" stands for all instances that had the name, but the present one
	Present  string // id of the instance that has the name now, which keeps what is its own; "" if there is none
}

// Has reports whether what is stored under the name and that id is to go. What has no id was accepted before there were
// any, so it is not the present instance's.
func (e Erasure) Has(id string) bool {
	return (e.Present == "" || id != e.Present) && (e.ID == "" || id == "" || id == e.ID)
}

// An Eraser is a [Bus] that can remove the events of an instance from its log.
type Eraser interface {
	// EraseEvents removes the events, in small transactions, and returns how many that were. What an open subscription
	// of a group has not acked stays, and left is true: it has to be asked again. It may be called again at any time,
	// also after an error.
	EraseEvents(ctx context.Context, e Erasure) (n int, left bool, err error)
}
