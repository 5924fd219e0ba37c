package child

import (
	"os"
	"slices"
)

// A Command says what to run.
type Command struct {
	Path   string   // absolute
	Args   []string // without the program's own name
	Env    []string // names of variables that are passed on, beside [BaseEnv]
	SHA256 string   // hexadecimal checksum of the file; empty checks nothing
}

// BaseEnv names the variables that every child gets: what interpreters need to be found and to write text.
var BaseEnv = []string{"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"}

// environ returns the variables of the allow list that are set, and the mark.
func (c Command) environ(mark string) []string {
	env := []string{} // nil would mean all of ours
	if mark != "" {
		env = append(env, MarkEnv+"="+mark)
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(BaseEnv, c.Env)))) {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
