package evolution

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/evosink/evosink/core/event"
)

// identity returns the id that stands for what e says, "" if e does not say when; see the package comment.
func identity(e *event.Event) string {
	if e.Time.IsZero() {
		return ""
	}
	h := sha256.New()
	part := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	part([]byte(e.Name))
	part([]byte(e.Instance))
	part([]byte(e.Time.UTC().Format(time.RFC3339Nano)))
	part(e.Data)
	if len(e.Extras) > 0 {
		part(e.Extras)
	}
	u := h.Sum(nil)
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:16])
}
