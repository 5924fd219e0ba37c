package parser

import "errors"

// What is wrong with a peer's packet; each comes wrapped in the step that
// found it.
var (
	// ErrMalformed: the bytes are no packet.
	ErrMalformed = errors.New("malformed packet")
	// ErrLimit: the packet is larger than Limits allows.
	ErrLimit = errors.New("packet over the limit")
)

// Limits bounds what a Decoder accepts.
type Limits struct {
	// Attachments of one packet. Default 10, as in the reference parser.
	Attachments int
	// AttachmentBytes is the sum of one packet's attachments. Default 10 MB.
	AttachmentBytes int
	// Namespace is the length of a namespace's name in bytes. Default 1024.
	Namespace int
	// JSON is the length of a payload in bytes. Default 1 MB.
	JSON int
	// Depth is how deep arrays and objects may stand in each other. Default
	// 10,000, where encoding/json ends.
	Depth int
	// Args is the number of arguments of one packet, its name included.
	// Default 65,536.
	Args int
}

// DefaultLimits are the bounds of a server that admits messages of 1 MB.
func DefaultLimits() Limits {
	return Limits{
		Attachments:     10,
		AttachmentBytes: 10_000_000,
		Namespace:       1024,
		JSON:            1_000_000,
		Depth:           10_000,
		Args:            1 << 16,
	}
}

// WithDefaults returns l, each field that is zero taken from DefaultLimits.
func (l Limits) WithDefaults() Limits {
	def := DefaultLimits()
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.Attachments, def.Attachments},
		{&l.AttachmentBytes, def.AttachmentBytes},
		{&l.Namespace, def.Namespace},
		{&l.JSON, def.JSON},
		{&l.Depth, def.Depth},
		{&l.Args, def.Args},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return l
}
