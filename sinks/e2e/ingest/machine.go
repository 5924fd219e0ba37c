package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor time in /proc, the same on every Linux that Go runs on.
const tick = time.Second / 100

// ticks adds up the fields [from, to) of the first line of a file of processor times. They count from 0, behind a
// program's name in brackets if there is one: it may hold spaces.
func ticks(file string, from, to int) (sum time.Duration, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	text, _, _ = bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < to {
		return 0, fmt.Errorf("%s has %d fields, not %d", file, len(fields), to)
	}
	for _, f := range fields[from:to] {
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}

// busy is the processor time that all programs have used since the machine began, and that of interrupts and of what
// the machine's host took away.
func busy() (time.Duration, error) {
	programs, err := ticks("/proc/stat", 1, 4) // user, nice, system
	if err != nil {
		return 0, err
	}
	rest, err := ticks("/proc/stat", 6, 9) // hard and soft interrupts, stolen
	return programs + rest, err
}

// processor is the model of the processor, as far as the system says.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo") // for the reader only
	_, after, _ := strings.Cut(string(info), "model name\t: ")
	name, _, _ := strings.Cut(after, "\n")
	return name
}
