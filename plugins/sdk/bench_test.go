package sdk_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/evosink/evosink/plugins/sdk"
)

// BenchmarkServe is what a plugin in Go costs per event of 1 kB beside what it does with it.
func BenchmarkServe(b *testing.B) {
	var in bytes.Buffer
	fmt.Fprintln(&in, hello)
	for i := range b.N {
		fmt.Fprintf(&in, `{"type":"event","id":"d-%d","key":"0192f7a0-0000-7000-8000-000000000000/global","attempt":1,"instance":"sales","event":"messages.upsert","scope":"global",`+
			`"event_id":"0192f7a0-0000-7000-8000-000000000000","date_time":"2025-10-21T14:00:39.512Z","settings":null,"data":{"text":%q}}`+"\n", i, strings.Repeat("x", 1000))
	}
	p := sdk.Plugin{Deliver: func(context.Context, *sdk.Delivery) error { return nil }}
	b.ReportAllocs()
	b.ResetTimer()
	if err := p.Serve(context.Background(), &in, io.Discard); err != nil {
		b.Fatal(err)
	}
}
