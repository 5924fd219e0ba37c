package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// measured is results of two servers, one of which stalled.
func measured() *results {
	r := newResults()
	r.Servers = []string{"evosink", "bare gorilla loop, PreparedMessage", "<other> & co"}
	for i, server := range r.Servers[:2] {
		v := values{othersShare: {1, 2}, stolenShare: {0, 0}}
		for _, p := range panels {
			v[p.figure] = []float64{0.25 * float64(i+1), 0.75 * float64(i+1)}
		}
		r.add(server, v)
	}
	r.add(r.Servers[2], values{stalls: {1}, stuckP99: {12_345}, othersShare: {30}, stolenShare: {0}})
	return r
}

func TestTheMedianIsTheMiddleOfTheRounds(t *testing.T) {
	r := newResults()
	for rounds, want := range map[string]float64{"odd": 2, "even": 2.5} {
		r.add(rounds, values{burstCPU: {3, 1, 2}})
		if rounds == "even" {
			r.add(rounds, values{burstCPU: {9}})
		}
		if got, ok := r.median(rounds, burstCPU); !ok || got != want {
			t.Errorf("%s: %v, %v; want %v", rounds, got, ok, want)
		}
	}
	if _, ok := r.median("nobody", burstCPU); ok {
		t.Error("a median of nothing")
	}
}

func TestThePlotIsWellFormedAndNamesEverybody(t *testing.T) {
	plot := string(measured().plot())
	for d := xml.NewDecoder(strings.NewReader(plot)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{">evosink<", "&lt;other&gt; &amp; co", "12,345 stalls", "not measured", "prefers-color-scheme:dark"} {
		if !strings.Contains(plot, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(plot, "NaN") || strings.Contains(plot, "Inf") {
		t.Error("a length that is no number")
	}
}

func TestThePageTellsRatiosAndDisturbance(t *testing.T) {
	page := string(measured().markdown())
	for _, want := range []string{"| evosink | 0.50 |", "50 events at once 0.50", "30 % in the worst", "stalls:"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
}

func TestNumbersHaveAboutThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.123: "0.12", 9.87: "9.9", 123.4: "123", 1234.5: "1,234", 10_700: "10,700"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %s, want %s", v, got, want)
		}
	}
}

func TestAMachineThatStaysBusyIsMeasuredAnyway(t *testing.T) {
	trials := 0
	v, err := (&calm{}).measure(t.Context(), func() (values, error) {
		trials++
		for begin := time.Now(); time.Since(begin) < 20*time.Millisecond; {
		}
		return values{burstCPU: {1}}, nil
	})
	if err != nil || trials != 1 || len(v[othersShare]) != 1 {
		t.Errorf("%d trials, %v, %v", trials, v, err)
	}
}
