package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strings"
)

// A panel shows one figure of all servers.
type panel struct {
	title  string
	figure figure
	log    bool // servers are orders of magnitude apart
}

var panels = []panel{
	{"CPU µs per delivery: 1,000 clients, 10 events/s", steadyCPU, false},
	{"CPU µs per delivery: 50 events at once", burstCPU, true},
	{"CPU µs per delivery: 16 KiB events", largeCPU, false},
	{"CPU µs per delivery: 1,000 namespaces × 5 clients", spacesCPU, false},
	{"Memory per idle client, KiB (10,000 clients)", idleMemory, false},
	{"Connects per second (more is better)", connects, false},
	{"p99 ms of the others while 5 % do not read", stuckP99, true},
	{"Peak memory meanwhile, MiB", stuckPeak, true},
}

// The measures of the plot, in pixels.
const (
	width, margin = 960, 16
	gap           = 40 // between the two columns of panels
	column1       = width/2 - gap/2 - margin
	nameWidth     = 180 // of the servers' names
	valueWidth    = 58  // of the figures behind the bars
	barsWidth     = column1 - nameWidth - valueWidth
	row, bar      = 22, 13
	titleHeight   = 34
	headHeight    = 52
)

// style reads on light and on dark backgrounds.
const style = `text{font:12px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:#424a53}
.title{font-weight:600;fill:#1f2328}.head{font-size:16px;font-weight:600;fill:#1f2328}.ours{font-weight:600;fill:#1f2328}
.bar{fill:#9aa4af}.bar.ours{fill:#0a7d5a}.grid{stroke:#d1d9e0;stroke-width:1}.tick{font-size:10px;fill:#6e7781}
@media (prefers-color-scheme:dark){text{fill:#b1bac4}.title,.head,text.ours{fill:#f0f6fc}
.bar{fill:#6e7781}.bar.ours{fill:#2fbf8f}.grid{stroke:#3d444d}.tick{fill:#8b949e}}`

// plot is the results as an SVG image: a panel per figure, less is better
// unless it says otherwise.
func (r *results) plot() []byte {
	panelHeight := titleHeight + row*len(r.Servers) + 34
	height := headHeight + panelHeight*((len(panels)+1)/2)
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="evosink beside other servers">`+"\n<style>%s</style>\n",
		width, height, width, height, style)
	fmt.Fprintf(&b, `<text class="head" x="%d" y="26">evosink beside other servers</text>`+"\n", margin)
	fmt.Fprintf(&b, `<text class="tick" x="%d" y="43">Less is better unless said. Server on one core of %s; Go %s, Node %s; %s</text>`+"\n",
		margin, html.EscapeString(r.Machine.Processor), r.Machine.Go, r.Machine.Node, r.Date)
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%d,%d)">`+"\n", margin+i%2*(column1+gap), headHeight+i/2*panelHeight)
		r.panel(&b, p)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// panel draws p at the origin.
func (r *results) panel(b *bytes.Buffer, p panel) {
	s := r.scale(p)
	fmt.Fprintf(b, `<text class="title" x="0" y="22">%s</text>`+"\n", html.EscapeString(p.title+s.note()))
	bottom := titleHeight + row*len(r.Servers)
	for _, tick := range s.ticks() {
		x := nameWidth + s.at(tick)
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="tick" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, x, titleHeight, bottom, x, bottom+13, short(tick))
	}
	for i, server := range r.Servers {
		r.row(b, p, s, server, titleHeight+i*row)
	}
}

// row draws one server's bar at height y.
func (r *results) row(b *bytes.Buffer, p panel, s scale, server string, y int) {
	class := ""
	if server == ours {
		class = " ours"
	}
	text := y + row/2 + 4
	fmt.Fprintf(b, `<text class="name%s" x="%d" y="%d" text-anchor="end">%s</text>`, class, nameWidth-8, text, html.EscapeString(label(server)))
	value, ok := r.median(server, p.figure)
	if !ok {
		fmt.Fprintf(b, `<text class="tick" x="%d" y="%d">not measured</text>`+"\n", nameWidth+6, text)
		return
	}
	note := number(value)
	if _, stalled := r.median(server, stalls); stalled && (p.figure == stuckP99 || p.figure == stuckPeak) {
		note += " stalls"
	}
	fmt.Fprintf(b, `<rect class="bar%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, class, nameWidth, y+(row-bar)/2, max(2, s.at(value)), bar)
	fmt.Fprintf(b, `<text class="value%s" x="%.1f" y="%d">%s</text>`+"\n", class, nameWidth+max(2, s.at(value))+6, text, note)
}

// A scale turns values into lengths.
type scale struct {
	log       bool
	low, high float64
}

// scale spans the values of p: from zero, or between powers of ten.
func (r *results) scale(p panel) scale {
	low, high := math.Inf(1), 0.0
	for _, server := range r.Servers {
		if value, ok := r.median(server, p.figure); ok && value > 0 {
			low, high = min(low, value), max(high, value)
		}
	}
	if high == 0 {
		return scale{high: 1}
	}
	if !p.log {
		return scale{high: high}
	}
	return scale{log: true, low: math.Pow(10, math.Floor(math.Log10(low*0.999))), high: high}
}

// at is how long a bar of value is.
func (s scale) at(value float64) float64 {
	if s.log {
		return barsWidth * math.Log(max(value, s.low)/s.low) / math.Log(s.high/s.low)
	}
	return barsWidth * value / s.high
}

func (s scale) note() string {
	if s.log {
		return " — logarithmic"
	}
	return ""
}

// ticks are a few round values on the scale.
func (s scale) ticks() (ticks []float64) {
	if s.log {
		for v := s.low; v <= s.high; v *= 10 {
			ticks = append(ticks, v)
		}
		return ticks
	}
	step := math.Pow(10, math.Floor(math.Log10(s.high)))
	for s.high/step < 3 {
		step /= 2
	}
	for s.high/step > 6 {
		step *= 2
	}
	for v := 0.0; v <= s.high; v += step {
		ticks = append(ticks, v)
	}
	return ticks
}

// short writes a tick.
func short(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%gk", v/1000)
	}
	return fmt.Sprintf("%g", math.Round(v*1000)/1000)
}

// label is a server's name, as far as there is room.
func label(server string) string {
	name, _, _ := strings.Cut(server, ",")
	return name
}
