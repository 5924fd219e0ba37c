//go:build !linux

package sqlite_test

import "testing"

// smallDisk skips: there is no tmpfs.
func smallDisk(t *testing.T, _ int) string {
	t.Helper()
	t.Skip("mounting a small disk needs Linux")
	return ""
}
