package main

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A column is a figure under its title.
type column struct {
	title  string
	figure figure
}

var (
	costs = []column{
		{"1,000 clients, 10 events/s", steadyCPU},
		{"50 events at once", burstCPU},
		{"16 KiB events", largeCPU},
		{"1,000 namespaces x 5 clients", spacesCPU},
	}
	clients = []column{
		{"KiB per idle client, 10,000", idleMemory},
		{"the same, garbage collected", idleCollected},
		{"connects/s", connects},
		{"CPU us per connect", connectCPU},
	}
	slowReaders = []column{
		{"p99 ms, all read", readingP99},
		{"p99 ms of the others, 5 % stuck", stuckP99},
		{"peak MiB, all read", readingPeak},
		{"peak MiB, 5 % stuck", stuckPeak},
		{"% lost by the others", stuckLost},
	}
)

// markdown is the results as a page.
func (r *results) markdown() []byte {
	var b bytes.Buffer
	b.WriteString("# evosink beside other servers\n\nWritten by `task bench:peers`; do not edit.\n\n")
	r.describe(&b)
	b.WriteString("\n![The same as a plot](performance.svg)\n\n## What a delivery costs\n\n" +
		"Processor time of the server (user and system, all threads) per delivered event, in microseconds. Events are 1 KiB unless said.\n\n")
	r.table(&b, costs)
	r.ratios(&b)
	b.WriteString("\n## What a client costs\n\nResident memory beside the empty server, as it stands a few seconds after connecting and after a forced garbage collection.\n\n")
	r.table(&b, clients)
	b.WriteString("\n## Slow readers\n\n500 clients, 16 KiB events, 30 per second; then the same while 25 of the clients do not read at all. Peak is the server's resident memory.\n\n")
	r.table(&b, slowReaders)
	for _, server := range r.Servers {
		if _, stalled := r.median(server, stalls); stalled {
			fmt.Fprintf(&b, "\n%s stalls: a client that does not read holds up all others, so its p99 is that of the events which came.\n", server)
		}
	}
	for _, m := range r.Missing {
		fmt.Fprintf(&b, "\nNot measured: %s.\n", m)
	}
	return b.Bytes()
}

// describe tells what the results were measured on, and how quiet it was.
func (r *results) describe(b *bytes.Buffer) {
	m := r.Machine
	where := "not pinned to cores"
	if m.Pinned {
		where = "the server pinned to one core and the clients to the rest"
	}
	fmt.Fprintf(b, "%s. %d cores, %s, %s, Go %s, Node %s; loopback, websocket, no compression, %s. Rounds: %s, server after server within a round; figures are medians.\n",
		r.Date, m.Cores, m.Processor, m.Kernel, m.Go, m.Node, where, r.rounds())
	others, worst, stolen := r.disturbance()
	fmt.Fprintf(b, "\nMeanwhile other processes took %.0f %% of the cores' time in the median trial and %.0f %% in the worst, other machines %.0f %% in the worst.",
		others, worst, stolen)
	if others > 100*calmEnough {
		b.WriteString(" **The machine was not quiet**: compare within the run only; delays and connects/s suffer most, and a server that batches what waits gains.")
	}
	b.WriteByte('\n')
}

// rounds is how many there were, "2" or "2-3".
func (r *results) rounds() string {
	low, high := 0, 0
	for _, figures := range r.Rounds {
		for f, values := range figures {
			if f != stalls && f != othersShare && f != stolenShare {
				high = max(high, len(values))
				if low == 0 || len(values) < low {
					low = len(values)
				}
			}
		}
	}
	if low == high {
		return strconv.Itoa(low)
	}
	return fmt.Sprintf("%d-%d", low, high)
}

// disturbance is what others took of the machine during the trials, in percent.
func (r *results) disturbance() (median, worst, stolen float64) {
	all := newResults()
	for _, v := range r.Rounds {
		all.add("", v)
		worst = max(worst, slices.Max(v[othersShare]))
		stolen = max(stolen, slices.Max(v[stolenShare]))
	}
	median, _ = all.median("", othersShare)
	return median, worst, stolen
}

func (r *results) table(b *bytes.Buffer, columns []column) {
	b.WriteString("| server |")
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", c.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(columns)) + "\n")
	for _, server := range r.Servers {
		fmt.Fprintf(b, "| %s |", server)
		for _, c := range columns {
			fmt.Fprintf(b, " %s |", r.cell(server, c.figure))
		}
		b.WriteByte('\n')
	}
}

func (r *results) cell(server string, f figure) string {
	value, ok := r.median(server, f)
	if !ok {
		return ""
	}
	return number(value)
}

// number writes v with about three digits.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v < 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	thousands := strconv.FormatFloat(v/1000, 'f', 3, 64)
	return strings.Replace(thousands, ".", ",", 1)
}

// ratios holds evosink against the bare loop, if both were measured.
func (r *results) ratios(b *bytes.Buffer) {
	name := make(map[string]string)
	for _, p := range peers {
		name[p.folder] = p.name
	}
	var parts []string
	for _, c := range costs {
		mine, ok := r.median(name[ours], c.figure)
		theirs, both := r.median(name[bare], c.figure)
		if ok && both {
			parts = append(parts, fmt.Sprintf("%s %.2f", c.title, mine/theirs))
		}
	}
	if parts != nil {
		fmt.Fprintf(b, "\nevosink as a share of the bare gorilla loop: %s.\n", strings.Join(parts, "; "))
	}
}
