package httpapi_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/instances"
)

// lines is a log that several goroutines write.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), text)
}

// newProcess makes one without sinks on a free port, and its log.
func newProcess(t *testing.T, engine func(context.Context) error) (httpapi.Process, *lines) {
	t.Helper()
	memo, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	registry, err := instances.Open(t.Context(), memo, instances.Sum("key"))
	if err != nil {
		t.Fatal(err)
	}
	c := httpapi.Default()
	c.Server.Host, c.Server.Port, c.Server.ShutdownTimeout = "127.0.0.1", 0, 3*time.Second
	log := &lines{}
	logger := zerolog.New(log)
	b := memo.Bus()
	t.Cleanup(func() { b.Close(context.Background()) })
	hub, err := core.New(core.Options{Bus: b, Instances: registry, Logger: logger, DrainTimeout: c.Server.DrainTimeout()})
	if err != nil {
		t.Fatal(err)
	}
	api, err := httpapi.New(httpapi.Options{Config: c, Emitter: hub, Registry: registry, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	return httpapi.Process{Hub: hub, API: api, Server: c.Server, Engine: engine, Logger: logger}, log
}

// runUntilReady runs p until end is called, which returns what Run has returned.
func runUntilReady(t *testing.T, p httpapi.Process) (end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	<-p.Hub.Started()
	return func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(20 * time.Second):
			t.Fatal("Run does not return")
			return nil
		}
	}
}

func TestTheEngineClosesLastAndItsErrorIsTheProcesss(t *testing.T) {
	broken := errors.New("disk full")
	var p httpapi.Process
	p, log := newProcess(t, func(ctx context.Context) error {
		if _, limited := ctx.Deadline(); !limited {
			t.Error("the engine has no limit of time")
		}
		if err := p.Hub.Emit(ctx); !errors.Is(err, core.ErrClosed) {
			t.Errorf("events are still taken: %v", err)
		}
		return broken
	})
	if err := runUntilReady(t, p)(); !errors.Is(err, broken) {
		t.Errorf("Run: %v", err)
	}
	if !log.has("evosink has ended") || log.has("cut_off") {
		t.Errorf("it logs %s", log.b.String())
	}
}

// An engine on a disk that does not answer has everything that was accepted already; there is nothing to wait for.
func TestAnEngineThatDoesNotCloseIsLeftAndTold(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	p, log := newProcess(t, func(context.Context) error { <-release; return nil })
	if err := runUntilReady(t, p)(); err != nil {
		t.Errorf("Run: %v", err)
	}
	if !log.has("the engine does not close") {
		t.Errorf("it logs %s", log.b.String())
	}
}

func TestHangupsReloadOneAtATime(t *testing.T) {
	hangup, reloaded := make(chan os.Signal), make(chan struct{}, 2)
	p, _ := newProcess(t, func(context.Context) error { return nil })
	p.Hangup, p.Reload = hangup, func() { reloaded <- struct{}{} }
	end := runUntilReady(t, p)
	hangup <- syscall.SIGHUP
	<-reloaded
	hangup <- syscall.SIGHUP
	<-reloaded
	if err := end(); err != nil {
		t.Error(err)
	}
}

func TestAPortInUseEndsTheProcessAndClosesTheEngine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	closed := false
	p, _ := newProcess(t, func(context.Context) error { closed = true; return nil })
	p.Server.Port = l.Addr().(*net.TCPAddr).Port
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "SERVER_PORT chooses another") || !closed {
		t.Errorf("Run: %v, engine closed: %v", err, closed)
	}
}

func TestTheShutdownTimeoutIsChecked(t *testing.T) {
	c := httpapi.Default()
	c.Server.ShutdownTimeout = time.Millisecond
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "server.shutdown_timeout must be at least 1s") {
		t.Errorf("got %v", err)
	}
}
