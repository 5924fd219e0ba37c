package sink_test

import (
	"testing"
	"time"

	"github.com/evosink/evosink/core/sink"
)

func TestDelayIsEvolutionsArithmetic(t *testing.T) {
	p := sink.DefaultPolicy()
	for i, want := range []int{5, 10, 20, 40, 80, 160, 300, 300, 300} {
		if got := p.Delay(i+1, 0.5); got != time.Duration(want)*time.Second {
			t.Errorf("the wait after failure %d is %v, want %d s", i+1, got, want)
		}
	}
	if got := p.Delay(3, 0); got != 16*time.Second {
		t.Errorf("20 s with the least jitter of 0.2 are %v", got)
	}
	if got := p.Delay(1, 0); got != 5*time.Second {
		t.Errorf("jitter made the first wait %v, shorter than the base", got)
	}
	if got := p.Delay(100_000, 0.999); got > p.Longest() || got < 300*time.Second {
		t.Errorf("the wait after very many failures is %v", got)
	}
	p.Factor = 1
	if got := p.Delay(7, 0.9); got != 5*time.Second {
		t.Errorf("without backoff the wait is %v", got)
	}
}

func TestReportKeepsTheLastAnswerAndOnlyItsHead(t *testing.T) {
	ctx, answer := sink.WithReports(t.Context())
	if answer() != nil {
		t.Error("an answer before there was one")
	}
	head := make([]byte, 10*sink.MaxAnswerHead)
	sink.Report(ctx, sink.Answer{Status: "100 Continue"})
	sink.Report(ctx, sink.Answer{Status: "200 OK", Head: head})
	head[0] = 'x'
	if a := answer(); a.Status != "200 OK" || len(a.Head) != sink.MaxAnswerHead || a.Head[0] != 0 {
		t.Errorf("kept %q with %d bytes", a.Status, len(a.Head))
	}
	sink.Report(t.Context(), sink.Answer{Status: "nobody listens"})
}
