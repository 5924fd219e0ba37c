package e2e_test

import (
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write .env.example anew")

// command makes a run of evosink in dir that is expected to end by itself.
func command(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = dir
	cmd.Env = []string{"SERVER_HOST=127.0.0.1", "SERVER_PORT=0", "AUTHENTICATION_API_KEY=" + key}
	return cmd
}

// refuses runs evosink and expects it to end with code 1 and to say all of says.
func refuses(t *testing.T, cmd *exec.Cmd, says ...string) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("exit: %v", err)
	}
	for _, s := range says {
		if !strings.Contains(string(out), s) {
			t.Errorf("it does not say %q:\n%s", s, out)
		}
	}
	if strings.Contains(string(out), "goroutine ") || strings.Contains(string(out), key) {
		t.Errorf("it shows what it should not:\n%s", out)
	}
}

func TestAPortInUseIsAClearError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := command(t, t.TempDir())
	cmd.Env = append(cmd.Env, "SERVER_PORT="+strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	refuses(t, cmd, "server.port", "address already in use", "SERVER_PORT")
}

func TestASecondProcessOnTheSameFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, dir)
	refuses(t, command(t, dir), "data/evosink.db", strconv.Itoa(p.cmd.Process.Pid))
	p.must(201, "POST", "/events/sales", `{"event":"still.alive"}`)
}

func TestADamagedFileIsRefusedAndLeftAlone(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"truncated":      func(file string) error { return os.Truncate(file, 5000) },
		"not a database": func(file string) error { return os.WriteFile(file, []byte(strings.Repeat("garbage ", 1000)), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := launch(t, dir)
			p.must(201, "POST", "/events/sales", `{"event":"messages.upsert"}`)
			if code := p.terminate(); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			file := filepath.Join(dir, "data", "evosink.db")
			if err := damage(file); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(file)
			refuses(t, command(t, dir), "data/evosink.db", "restore it")
			if after, _ := os.ReadFile(file); string(after) != string(before) {
				t.Error("the damaged file was changed")
			}
		})
	}
}

func TestABadConfigurationIsRefusedWithEverythingThatIsWrong(t *testing.T) {
	dir := t.TempDir()
	file := "sinks:\n  websocket:\n    enabld: true\n    ping_interval: -1s\nserver:\n  port: eighty\n"
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, dir, "config", "check")
	cmd.Env = []string{"AUTHENTICATION_API_KEY=" + key}
	refuses(t, cmd, "enabld", "sinks.websocket.enabled", "server.port")
}

func TestWithoutAKeyOneIsShownOnceAndOnlyLoopbackListens(t *testing.T) {
	dir := t.TempDir()
	start := func() *process { return launch(t, dir, "AUTHENTICATION_API_KEY=", "SERVER_HOST=") }
	p := start()
	_, rest, found := strings.Cut(p.output(), "shown only now:")
	if !found || !strings.HasPrefix(p.url, "http://127.0.0.1:") {
		t.Fatalf("%s\n%s", p.url, p.output())
	}
	generated := strings.Fields(rest)[0]
	p.terminate()
	if p = start(); strings.Contains(p.output(), "shown only now") {
		t.Error("the key is shown again")
	}
	cmd := exec.Command("curl", "-sf", "-H", "apikey: "+generated, p.url+"/instance/fetchInstances")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the generated key does not open after a restart: %v %s", err, out)
	}
}
