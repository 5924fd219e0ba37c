package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// row is a line of the table: a figure, its name and how it is written.
type row struct {
	name, format string
	of           func(figures) float64
}

var (
	maximum = row{"events/s", "%.0f", func(f figures) float64 { return f.rate }}
	costs   = []row{
		{"processor time, µs/event", "%.0f", func(f figures) float64 { return f.cpu }},
		{"written, bytes/event", "%.0f", func(f figures) float64 { return f.bytes }},
	}
	delays = []row{
		{"p50, ms", "%.1f", func(f figures) float64 { return f.p50 }},
		{"p99, ms", "%.1f", func(f figures) float64 { return f.p99 }},
		{"max, ms", "%.1f", func(f figures) float64 { return f.max }},
	}
	noise = row{"other programs, % of the cores", "%.0f", func(f figures) float64 { return f.others }}
)

// table writes the medians of both binaries, load by load.
func table(o options, results [2][][]figures) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d cores (%s), %d rounds, %s each, %d instances with a webhook each\n\n",
		runtime.NumCPU(), processor(), o.rounds, o.seconds, o.instances)
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "load\tmedian of\told\tnew\tnew/old")
	for i := range o.loads() {
		name, rows := fmt.Sprint(o.callers, " callers"), append([]row{maximum}, costs...)
		if i < len(o.rates) {
			name, rows = fmt.Sprint(o.rates[i], "/s"), slices.Concat(costs, delays)
		}
		for _, r := range append(rows, noise) {
			before, after := median(results[0], i, r.of), median(results[1], i, r.of)
			fmt.Fprintf(w, "%s\t%s\t"+r.format+"\t"+r.format+"\t%s\n", name, r.name, before, after, ratio(before, after))
			name = ""
		}
		fmt.Fprintf(w, "\tlost, twice, refused (sums)\t%s\t%s\t\n", sums(results[0], i), sums(results[1], i))
	}
	_ = w.Flush() // a Builder takes everything
	return out.String()
}

// median is the median of a figure of a load over the rounds.
func median(rounds [][]figures, load int, of func(figures) float64) float64 {
	var all []float64
	for _, r := range rounds {
		all = append(all, of(r[load]))
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

func ratio(before, after float64) string {
	if before == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", after/before)
}

func sums(rounds [][]figures, load int) string {
	var lost, twice, refused int
	for _, r := range rounds {
		lost, twice, refused = lost+r[load].lost, twice+r[load].twice, refused+r[load].refused
	}
	return fmt.Sprintf("%d, %d, %d", lost, twice, refused)
}

// complete reports whether all that was accepted arrived.
func complete(results [2][][]figures) error {
	for i, name := range []string{"old", "new"} {
		for round, loads := range results[i] {
			for _, f := range loads {
				if f.lost > 0 {
					return fmt.Errorf("%s, round %d: %d events were accepted and did not arrive", name, round+1, f.lost)
				}
			}
		}
	}
	return nil
}
