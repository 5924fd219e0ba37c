// Peers measures evosink's socket.io server side by side with others: Node's
// socket.io, centrifuge, the socket.io server of zishang520, and a bare loop
// over gorilla/websocket that knows no protocol at all.
//
//	go run .          # about a quarter of an hour once built; writes results/
//	go run . -short   # about two minutes, one round; writes results/short/
//	go run . -render  # table and plot of the last results anew
//
// It is a module of its own, so that what the others need never enters
// evosink's.
//
// # What is measured
//
// Each server (folder servers) is a process of its own, pinned to the first
// core; the clients (package crowd) live in this process, pinned to the other
// cores. Both by taskset, where there is one. All talk over loopback, by
// websocket and without compression, and all servers run with their defaults.
// Package control is how servers are told what to emit.
//
// The cost of a delivery is the processor time (user and system, all threads)
// that a server spends while it emits, by the number of events its clients got:
// what it costs to make the event included, and the kernel's work too. On
// loopback the kernel does the receiver's half of TCP in the sender's write,
// which no server avoids: compare servers within a run, not figures across
// machines. Memory is the resident set.
//
// # How
//
// Scenarios run in rounds, and within a round server after server, so that what
// else the machine does hits all alike; a figure is the median of its rounds.
// How much that was is told with the results.
//
// Everything ends by itself: rates and waits are bounded, and servers end with
// their standard input.
package main
