package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// A Machine is what the results were measured on.
type Machine struct {
	Processor string
	Cores     int
	Kernel    string
	Go, Node  string
	Pinned    bool    // servers to a core of their own
	Load      float64 // average of the minute before the comparison
}

// machine describes this one, without its name.
func machine(ctx context.Context, c cores, load float64) Machine {
	node, err := output(ctx, "node", "--version")
	if err != nil {
		node = "none"
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	kernel, _, _ := strings.Cut(strings.TrimSpace(string(release)), "-") // without the builder's words
	return Machine{
		Processor: processor(), Cores: runtime.NumCPU(), Pinned: c.pinned,
		Kernel: runtime.GOOS + " " + kernel,
		Go:     strings.TrimPrefix(runtime.Version(), "go"), Node: strings.TrimPrefix(node, "v"),
		Load: load,
	}
}

// processor is the model's name, or at least the architecture.
func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// An observation is what the machine had done at one time.
type observation struct {
	at           time.Time
	load         float64
	busy, stolen time.Duration // of all cores
	own          time.Duration // of this process and of the servers that have ended
}

// observe is all zero where there is no /proc.
func observe() observation {
	o := observation{at: time.Now()}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Sscan(string(load), &o.load)
	o.own = used(syscall.RUSAGE_SELF) + used(syscall.RUSAGE_CHILDREN)
	stat, _ := os.ReadFile("/proc/stat")
	var user, nice, system, idle, iowait, irq, softirq, steal int
	fmt.Sscanf(string(stat), "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal)
	const tick = time.Second / 100 // USER_HZ, on every architecture Go knows
	o.busy = time.Duration(user+nice+system+irq+softirq) * tick
	o.stolen = time.Duration(steal) * tick
	return o
}

func used(who int) time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(who, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
