package engineio

// A Message is one application message: text, which must be valid UTF-8, or
// binary.
type Message struct {
	Data   []byte
	Binary bool
}
