package config_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evosink/evosink/config"
)

// watching runs Watch in a bubble, where polls take no time, and counts its calls.
type watching struct {
	t       *testing.T
	calls   atomic.Int32
	trigger chan os.Signal
}

// watch calls act while Watch looks at the paths.
func watch(t *testing.T, paths []string, act func(w *watching)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &watching{t: t, trigger: make(chan os.Signal)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- config.Watch(ctx, paths, 0, w.trigger, func() { w.calls.Add(1) }) }()
		synctest.Wait()
		act(w)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v, want the context's error", err)
		}
	})
}

// after lets n polls pass and expects so many calls in all.
func (w *watching) after(polls, calls int, what string) {
	w.t.Helper()
	time.Sleep(time.Duration(polls)*2*time.Second + time.Millisecond) // the bubble's clock
	synctest.Wait()
	if got := int(w.calls.Load()); got != calls {
		w.t.Errorf("%s: %d calls, want %d", what, got, calls)
	}
}

// write sets a file's content, with a time of its own: the bubble's clock is not the file system's.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	stamp = stamp.Add(time.Second)
	if err := os.Chtimes(path, stamp, stamp); err != nil {
		t.Fatal(err)
	}
}

var stamp = time.Unix(1_000_000_000, 0)

func TestWatchSeesAChangeOnceItStandsStill(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	write(t, file, "a")
	watch(t, []string{file, file + ".other"}, func(w *watching) {
		w.after(5, 0, "nothing happened")
		write(t, file, "b")
		w.after(1, 0, "one poll after a change")
		write(t, file, "bc")
		w.after(1, 0, "still being written")
		w.after(1, 1, "it stood still")
		w.after(5, 1, "nothing more")
	})
}

func TestWatchSurvivesRemovalAndSeesReCreation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	write(t, file, "a")
	watch(t, []string{file}, func(w *watching) {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		w.after(5, 0, "removal alone")
		write(t, file, "b")
		w.after(2, 1, "re-creation")
		next := file + ".new"
		write(t, next, "b")
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
		w.after(2, 2, "an editor's rename")
	})
}

func TestWatchSeesAFileThatWasMissingAtTheStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	watch(t, []string{file}, func(w *watching) {
		w.after(3, 0, "still missing")
		write(t, file, "a")
		w.after(2, 1, "created")
	})
}

func TestWatchFollowsKubernetesLinks(t *testing.T) {
	dir := t.TempDir()
	link := func(to string) {
		tmp := filepath.Join(dir, "..tmp")
		if err := errors.Join(os.Symlink(to, tmp), os.Rename(tmp, filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []string{"..v1", "..v2"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, v, "config.yaml"), "same size")
	}
	link("..v1")
	file := filepath.Join(dir, "config.yaml")
	if err := os.Symlink(filepath.Join("..data", "config.yaml"), file); err != nil {
		t.Fatal(err)
	}
	watch(t, []string{file}, func(w *watching) {
		link("..v2")
		if err := os.RemoveAll(filepath.Join(dir, "..v1")); err != nil {
			t.Fatal(err)
		}
		w.after(2, 1, "the link was swapped")
		w.after(3, 1, "nothing more")
	})
}

func TestASignalReloadsAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	watch(t, []string{file}, func(w *watching) {
		write(t, file, "a")
		w.trigger <- syscall.SIGHUP
		w.after(0, 1, "the signal")
		w.after(5, 1, "the signal's reload covered the change")
		close(w.trigger)
		w.after(5, 1, "no more signals")
	})
}
