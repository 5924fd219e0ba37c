//go:build unix

package e2e_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// forkingPlugin starts a process in its group, one in a session of its own and one that it does not know any more,
// notes their ids and its own, and what it can read of evosink's environment.
const forkingPlugin = `#!/bin/sh
read init
sleep 600 </dev/null >/dev/null 2>&1 &
echo $! >>"$1"
setsid sleep 601 </dev/null >/dev/null 2>&1 &
echo $! >>"$1"
(setsid sh -c 'echo $$ >>"$0"; exec sleep 602' "$1" </dev/null >/dev/null 2>&1 &)
until [ "$(grep -c . "$1")" -ge 3 ]; do :; done
echo $$ >>"$1"
cat /proc/$PPID/environ >"$1.environ" 2>/dev/null
echo '{"type":"ready","protocol":1}'
while read line; do
  case "$line" in *'"type":"drain"'*) echo '{"type":"drained"}'; exit;; esac
done
`

// launchForking starts evosink with the plugin, as another user if this is root, and returns the ids of what the plugin
// has started.
func launchForking(t *testing.T, dir string) (*process, []string) {
	t.Helper()
	note := filepath.Join(dir, "pids")
	if err := os.Remove(note); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	env := []string{"PLUGIN_DIR=" + filepath.Join(dir, "plugins"), "PATH=" + os.Getenv("PATH")}
	p := launchAs(t, dir, func(a *syscall.SysProcAttr) {
		if os.Getuid() == 0 {
			a.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
		}
	}, env...)
	until(t, "the plugin is ready", func() bool { return strings.Contains(p.output(), "the plugin is ready") })
	b, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	pids := strings.Fields(string(b))
	if len(pids) != 4 {
		t.Fatalf("the plugin has noted %q", pids)
	}
	return p, pids
}

// forkingDir makes a folder of evosink with the plugin in it, in which another user may work.
func forkingDir(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux shows what has descended from a process")
	}
	dir, err := os.MkdirTemp("", "evosink-forking") // t.TempDir is not for other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	plugins := filepath.Join(dir, "plugins")
	manifest := `{"protocol":1,"global":true,"args":["` + filepath.Join(dir, "pids") + `"]}`
	if err := errors.Join(
		os.Chmod(filepath.Dir(binary), 0o755), os.Mkdir(plugins, 0o755),
		os.WriteFile(filepath.Join(plugins, "forker"), []byte(forkingPlugin), 0o755), os.WriteFile(filepath.Join(plugins, "forker.json"), []byte(manifest), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// left returns those of the processes that still run.
func left(pids []string) (out []string) {
	for _, pid := range pids {
		if stat, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil && !strings.Contains(string(stat), ") Z ") {
			out = append(out, pid)
		}
	}
	return out
}

func TestNothingThatAPluginHasStartedIsLeftBehind(t *testing.T) {
	dir := forkingDir(t)
	var all []string
	for range 6 {
		p, pids := launchForking(t, dir)
		if got := left(pids); len(got) != 4 {
			t.Fatalf("of %q only %q run: the test shows nothing", pids, got)
		}
		p.kill()
		all = append(all, pids...)
	}
	until(t, "nothing is left after six kills", func() bool { return left(all) == nil })
	p, pids := launchForking(t, dir)
	if code := p.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := left(pids); got != nil {
		t.Errorf("%q are left after SIGTERM", got)
	}
}

func TestAPluginThatIsKilledLeavesNothingBehind(t *testing.T) {
	p, pids := launchForking(t, forkingDir(t))
	n, err := strconv.Atoi(pids[3])
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(n, syscall.SIGKILL)
	until(t, "nothing of it is left", func() bool { return left(pids) == nil })
	if code := p.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestAPluginCannotReadSecretsInTheEnvironment(t *testing.T) {
	dir := forkingDir(t)
	launchForking(t, dir)
	b, err := os.ReadFile(filepath.Join(dir, "pids.environ"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), key) {
		t.Errorf("the plugin has read the global key in its parent's environment: %.200q", b)
	}
}
