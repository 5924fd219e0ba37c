// Command conformance serves what the black-box suites of the Socket.IO
// protocol talk to: five servers with the options and handlers those suites
// expect, on one address. It is for tests only.
//
//	go run ./sinks/websocket/socketio/conformance -listen 127.0.0.1:3000
//
// It prints the address it listens on and ends on SIGTERM or an interrupt,
// when all of its goroutines have.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:3000", "address to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// closeTimeout bounds how long the end may take.
const closeTimeout = 10 * time.Second

// run serves until ctx ends.
func run(ctx context.Context, listen string) error {
	f, err := newFixture()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Printf("listening on http://%s\n", l.Addr())
	server := &http.Server{Handler: f, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := f.close(end); err != nil {
		return err
	}
	return server.Shutdown(end)
}
