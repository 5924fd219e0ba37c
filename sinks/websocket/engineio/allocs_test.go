//go:build !race

package engineio_test

import (
	"io"
	"strings"
	"testing"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// The race detector makes pools forget at random.
func TestSendBatchAllocatesNothingPerRecipient(t *testing.T) {
	s := open(t, nil)
	p, app := s.connect(t)
	go io.Copy(io.Discard, p.r)
	p.SetDeadline(noDeadline)
	batch := engineio.NewBatch(text(strings.Repeat("x", 1024)))
	allocs := testing.AllocsPerRun(1000, func() {
		until(t, app.Writable, "the client to keep up")
		if err := app.SendBatch(batch); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
