package engineio

// A Batch is an immutable run of messages for many sessions. Each form it
// takes on a wire is encoded at most once, when the first session needs it,
// so sending it to a session that keeps up costs one write and no allocation.
// It is safe for use by many goroutines.
type Batch struct {
	msgs []Message
}

// NewBatch returns a batch of msgs. Neither they nor their data may be changed
// afterwards.
func NewBatch(msgs ...Message) *Batch { return &Batch{msgs: msgs} }
