//go:build !unix

package engineio

import "syscall"

// writeNow takes nothing: without a portable non-blocking write, everything
// goes through the drainer.
func writeNow(syscall.RawConn, []byte) (int, error) { return 0, nil }
