// Package examples holds plugins that do something real, each under 40 lines, in Go, Node and Python; the README says how to run them. The
// Go one is a module of its own, as an author's is. The tests build them, hold them to the protocol, and see their events arrive.
package examples
