package child

import (
	"os"
	"sync/atomic"
)

// MarkEnv is the variable by which descendants of a child are found, on Linux: they inherit it. It says which host has
// started the child.
const MarkEnv = "EVOSINK_PLUGIN_OF"

var marks atomic.Uint64

// Guard lets children's descendants end even when this process is killed by SIGKILL, on Linux: with the first child,
// the program is started once more as a guard, which does nothing but wait for the end of this process and kill what it
// has left behind. A main function that calls Guard does so before anything else: in the guard it does not return. A
// program that does not call it has no guard; what it leaves behind ends when it starts its next child.
func Guard() {
	if len(os.Args) == 2 && os.Args[0] == guardName {
		beGuard(os.Args[1])
		os.Exit(0)
	}
	guard.possible = true
}
