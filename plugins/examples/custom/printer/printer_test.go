package printer_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/plugins/examples/custom/printer"
)

// page is an output that can be read meanwhile.
type page struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.Write(b)
}

// ids returns the second word of each line.
func (p *page) ids() (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for line := range strings.Lines(p.b.String()) {
		out = append(out, strings.Fields(line)[1])
	}
	return out
}

func TestThePrinterKeepsTheContractOfASink(t *testing.T) {
	var out *page
	sinktest.Run(t, sinktest.Subject{
		New: func(t *testing.T, h sink.Host) sink.Sink {
			out = &page{}
			s, err := sink.Use(printer.Spec, func(c *printer.Config) { c.Out = out }).New(h)
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Listen: func(*testing.T, sink.Sink) func() []string { return out.ids },
		Scope:  sink.Global, Target: "global",
	})
}
