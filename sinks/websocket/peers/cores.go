package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"runtime"
	"strconv"
)

// cores says what runs where.
type cores struct {
	pinned         bool
	server, client string // as taskset names them
}

// pin moves this process off the first core, which is the servers'. Without
// taskset, or with one core only, everything runs everywhere.
func pin() cores {
	n := runtime.NumCPU()
	if _, err := exec.LookPath("taskset"); err != nil || n < 2 {
		log.Print("not pinned: that takes taskset and two cores")
		return cores{}
	}
	c := cores{pinned: true, server: "0", client: fmt.Sprintf("1-%d", n-1)}
	err := exec.Command("taskset", "--all-tasks", "--cpu-list", "--pid", c.client, strconv.Itoa(os.Getpid())).Run()
	if err != nil {
		log.Printf("not pinned: taskset: %v", err)
		return cores{}
	}
	runtime.GOMAXPROCS(n - 1)
	return c
}
