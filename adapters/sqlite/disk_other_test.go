//go:build !linux

package sqlite_test

import "testing"

// childLocks names no variable that is set.
const childLocks = "EVOSINK_SQLITE_TEST_LOCKS"

// smallDisk skips: there is no tmpfs.
func smallDisk(t *testing.T, _ int) string { return mountDisk(t, "") }

// mountDisk skips: there is no tmpfs.
func mountDisk(t *testing.T, _ string) string {
	t.Helper()
	t.Skip("mounting a small disk needs Linux")
	return ""
}

// openWithoutLocks skips: there is no seccomp.
func openWithoutLocks(t *testing.T, _, _ string) string {
	t.Helper()
	t.Skip("taking the locks away needs Linux")
	return ""
}

func lockless(string, string) {}
