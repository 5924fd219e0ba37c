//go:build !linux

package file

import "os"

// lockDatabase locks nothing: locks of different kinds are one here, and SQLite's own connections would meet it.
func lockDatabase(string) (*os.File, error) { return nil, nil }

// bootID is not known.
func bootID() string { return "" }

// noInodes is not known.
func noInodes(string) bool { return false }

// diskSize is not known.
func diskSize(string) int64 { return 0 }

// allocate gives a file so many bytes that no other file can take.
func allocate(f *os.File, bytes int64) error { return writeRandom(f, bytes) }
