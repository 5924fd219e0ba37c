package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version returns the command that prints the program's version. When version is empty, as in a build without
// linker flags, the build's own record is used.
func Version(version string) Command {
	return Command{
		Name: "version", Summary: "Print the version",
		Run: func(_ context.Context, env *Env, args []string) error {
			if err := NoWords(args); err != nil {
				return err
			}
			if version == "" {
				version = built()
			}
			_, err := fmt.Fprintf(env.Stdout, "evosink %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// built reads the version that the go command stamped: the module's, or the commit's.
func built() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(len(s.Value), 12)]
		}
	}
	return "devel"
}
