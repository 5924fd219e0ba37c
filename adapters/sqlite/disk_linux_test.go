package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/evosink/evosink/adapters/sqlite"
)

// smallDisk returns a directory on a disk of its own with so many bytes.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	return mountDisk(t, fmt.Sprintf("size=%d", bytes))
}

// mountDisk returns a directory on a disk of its own, with options of tmpfs.
func mountDisk(t *testing.T, options string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mounting a small disk is not allowed here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// childLocks is the variable that says which system call knows no locks in a child process.
const childLocks = "EVOSINK_SQLITE_TEST_LOCKS"

// openWithoutLocks opens a file in a process for which the system has no locks, as on some network file systems, and
// returns what it says.
func openWithoutLocks(t *testing.T, path, call string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childPath+"="+path, childLocks+"="+call)
	out, _ := cmd.CombinedOutput()
	return string(out)
}

// lockless is such a child process.
func lockless(path, call string) {
	number := map[string]uint32{"fcntl": unix.SYS_FCNTL, "flock": unix.SYS_FLOCK}[call]
	const load, equal, end = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	filter := []unix.SockFilter{
		{Code: load, K: 0}, // the number of the call
		{Code: equal, K: number, Jf: 4},
		{Code: equal, K: unix.SYS_FLOCK, Jt: 2},
		{Code: load, K: 24}, // the low half of its second argument
		{Code: equal, K: unix.F_SETLK, Jf: 1},
		{Code: end, K: 0x00050000 | uint32(unix.ENOLCK)},
		{Code: end, K: 0x7fff0000}, // allowed
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		fmt.Println("no_new_privs:", err)
		return
	}
	const setModeFilter, allThreads = 1, 1
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, setModeFilter, allThreads, uintptr(unsafe.Pointer(&program))); e != 0 {
		fmt.Println("seccomp:", e)
		return
	}
	c := sqlite.DefaultConfig()
	c.Path = path
	_, err := sqlite.Open(context.Background(), c, nop)
	fmt.Println(err)
}
