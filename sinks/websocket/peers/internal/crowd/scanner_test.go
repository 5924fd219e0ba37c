package crowd

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPayloadsAreFoundHoweverTheStreamIsCut(t *testing.T) {
	want := []string{"2", "", strings.Repeat("a", 125), strings.Repeat("b", 126), strings.Repeat("c", 70_000), "end"}
	var stream []byte
	for _, text := range want {
		stream = append(stream, serverFrame(text)...)
	}
	for _, size := range []int{1, 2, 3, 7, 130, 4096, len(stream)} {
		var s scanner
		var got []string
		var text []byte
		for chunk := range slices.Chunk(stream, size) {
			for piece, end, rest, ok := s.next(chunk); ok; piece, end, rest, ok = s.next(rest) {
				if text = append(text, piece...); end {
					got, text = append(got, string(text)), nil
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in chunks of %d bytes: %d payloads, want %d", size, len(got), len(want))
		}
	}
}

func serverFrame(text string) []byte {
	n := len(text)
	switch {
	case n < 126:
		return append([]byte{0x81, byte(n)}, text...)
	case n < 1<<16:
		return append([]byte{0x81, 126, byte(n >> 8), byte(n)}, text...)
	}
	return append([]byte{0x81, 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, text...)
}

func TestHeartbeatsAreKnownAloneAndOnTheLastLine(t *testing.T) {
	c := &client{crowd: &Crowd{dialect: Centrifuge}}
	for text, want := range map[string]bool{"{}": true, "{\"push\":{}}\n{}": true, "{\"push\":{}}": false, "": false} {
		if got := c.isPing([]byte(text)); got != want {
			t.Errorf("isPing(%q) = %v", text, got)
		}
	}
	quiet := &client{crowd: &Crowd{dialect: Bare}}
	if quiet.isPing(nil) {
		t.Error("a server without heartbeat sent one")
	}
}

func TestQuantilesAreKnownToAFewPercent(t *testing.T) {
	var d Delays
	if got := d.Quantile(0.99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	for i := range 1000 {
		d.add(time.Duration(i+1) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond} {
		if got := d.Quantile(q); got < want*98/100 || got > want*102/100 {
			t.Errorf("quantile %v: %v, want about %v", q, got, want)
		}
	}
}

func TestFramesOfAClientAreMasked(t *testing.T) {
	if got, want := frame("3"), []byte{0x81, 0x81, 0, 0, 0, 0, '3'}; !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
}
