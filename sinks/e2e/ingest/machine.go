package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
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

// A watcher tells what processor time others than this program and what it starts have used. It is for the reader
// only: what it cannot know counts as nothing.
type watcher struct {
	begun time.Time
	busy  time.Duration
}

func watch() watcher { return watcher{time.Now(), othersBusy()} }

// others is their share of all processors since watch, in percent. It is right when all subjects have ended.
func (w watcher) others() float64 {
	return 100 * (othersBusy() - w.busy).Seconds() / time.Since(w.begun).Seconds() / float64(runtime.NumCPU())
}

// othersBusy is the processor time since the machine began that is not this program's nor its children's.
func othersBusy() time.Duration {
	users, _ := ticks("/proc/stat", 1, 4)      // user, nice, system
	interrupts, _ := ticks("/proc/stat", 6, 9) // hard, soft, and what other machines of the host have taken
	own, _ := ticks("/proc/self/stat", 11, 15) // user and system, and those of children that have ended
	return users + interrupts - own
}

// processor is the model of the processor, as far as the system says.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo") // for the reader only
	_, after, _ := strings.Cut(string(info), "model name\t: ")
	name, _, _ := strings.Cut(after, "\n")
	return name
}
