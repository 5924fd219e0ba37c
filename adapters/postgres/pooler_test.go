package postgres_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/evosink/evosink/adapters/postgres"
	"github.com/evosink/evosink/core/bus/bustest"
	"github.com/evosink/evosink/core/instances/storetest"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
)

// pooler runs the real pgbouncer, which gives each transaction another connection, and returns the configuration by
// which it is reached.
func pooler(t *testing.T, c postgres.Config) postgres.Config {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/pgbouncer")
	}
	if err != nil {
		if os.Getenv("EVOSINK_REQUIRE_SERVICES") == "1" {
			t.Fatalf("pgbouncer is required: %v", err)
		}
		t.Skipf("no pgbouncer: %v", err)
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	free.Close()
	password, _ := u.User.Password()
	if password != "" {
		password = " password=" + password
	}
	config := fmt.Sprintf(`[databases]
%s = host=%s port=%s user=%s%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 6
`, strings.TrimPrefix(u.Path, "/"), u.Hostname(), u.Port(), u.User.Username(), password, port)
	path := filepath.Join(t.TempDir(), "pgbouncer.ini")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-q", path}
	if os.Getuid() == 0 { // which it refuses to be
		args = append([]string{"-u", "nobody"}, args...)
	}
	run := exec.Command(program, args...)
	run.Stderr = os.Stderr
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = run.Process.Signal(syscall.SIGINT)
		_ = run.Wait()
	})
	u.Host = fmt.Sprint("127.0.0.1:", port)
	c.URL = u.String()
	waitFor(t, "pgbouncer answers", func() bool {
		conn, err := net.Dial("tcp", u.Host)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return c
}

// Everything works through a pooler in transaction mode, with what nodes tell each other being looked for.
func TestThroughAPooler(t *testing.T) {
	c := pooler(t, newConfig(t))
	schema := c.Schema
	fresh := func(t *testing.T) postgres.Config {
		c := c
		c.Schema = fmt.Sprintf("%s_%d", schema, server.next.Add(1))
		return c
	}
	t.Run("bus", func(t *testing.T) {
		bustest.Run(t, bustest.Engine{
			TooLarge: 16 << 20, Features: features,
			New: func(t *testing.T) bustest.Log { return logOf(t, fresh(t)) },
		})
	})
	t.Run("instances", func(t *testing.T) {
		storetest.Run(t, storetest.Engine{
			Durable: true, Nodes: true, New: func(t *testing.T) storetest.Open { return storeOf(fresh(t)) },
		})
	})
	t.Run("queue", func(t *testing.T) {
		queuetest.Run(t, queuetest.Subject{
			Open:  func(t *testing.T) queue.Store { return open(t, fresh(t)).Queue() },
			Nodes: func(t *testing.T) queuetest.Nodes { return nodesOf(t, fresh(t)) },
		})
	})
}
