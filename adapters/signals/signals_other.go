//go:build !unix

package signals

import "os"

// This system has none of them.
var hangup, harmless []os.Signal
