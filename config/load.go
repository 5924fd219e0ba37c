package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"
)

// Options is what Load reads from. Nothing else is looked at: not os.Args, not os.Environ.
type Options struct {
	Sections []Section
	Args     []string // the command line without the program's name
	Environ  []string // as os.Environ gives it
	Dir      string   // where config.yaml, .yml or .toml and .env are looked for; empty is the working directory
	// Accepted are variables of others under prefixes of ours, patterns as path.Match takes them
	// ("S3_*"): Load does not warn of them.
	Accepted []string
}

// loading is one Load on its way.
type loading struct {
	Options
	table    *table
	args     *arguments
	layers   layers
	errs     []error
	warnings []string
	exposed  map[string]bool // of the files that were read: every user of the machine may read them
}

// Load decodes defaults < file < .env < environment < flags into the sections.
//
// The error joins everything that is wrong: values ([*Error]), unknown keys of the file, unknown flags, what the
// sections' Validate says. The sections then hold anything. The Config is nil only when the types of the sections are
// wrong; otherwise its Rest, Warnings, Schema, EnvExample and Usage serve even beside an error.
//
// A key belongs to one section, a variable to one key; an empty variable is one that is not set. A value that reads as
// Print shows a secret ("***") is not used, with a warning, so that printed YAML can be loaded again. With --help in
// Args nothing but the flags is read.
func Load(o Options) (*Config, error) {
	t, err := newTable(o.Sections)
	if err != nil {
		return nil, err
	}
	l := &loading{Options: o, table: t, args: t.parseArgs(o.Args), exposed: map[string]bool{}}
	before, err := t.snapshot(nil)
	if err != nil {
		return nil, err
	}
	l.warnings = slices.Clone(l.args.warnings)
	l.add(newLayer("default", before.secrets, nil))
	if !l.args.help {
		l.errs = slices.Clone(l.args.errs)
		l.sources()
		l.decode()
	}
	c, err := t.snapshot(l.layers)
	if err != nil {
		l.errs = append(l.errs, err)
	}
	c.defaults = before.tree
	c.rest, c.help, c.warnings = l.args.rest, l.args.help, l.warnings
	return c, errors.Join(l.errs...)
}

// add appends a layer. A layer that did not load leaves its error; what of it did load still counts, so
// that one Load finds the mistakes of all of them.
func (l *loading) add(next *layer, err error) {
	if err != nil {
		l.errs = append(l.errs, err)
	}
	if next != nil {
		l.layers = append(l.layers, next)
	}
}

// sources reads the layers above the defaults, in order.
func (l *loading) sources() {
	environ := environment(l.Environ)
	dotenv := l.dotenv()
	l.file(environ, dotenv)
	l.variables(dotenvName, dotenv)
	l.variables("environment", environ)
	l.add(newLayer("flag", l.args.tree, l.args.names))
}

// dotenv reads the .env file; a missing one is an empty one.
func (l *loading) dotenv() map[string]string {
	b, err := l.read(dotenvName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		l.errs = append(l.errs, err)
		return nil
	}
	vars, twice, err := parseDotenv(string(b))
	if err != nil {
		l.errs = append(l.errs, fmt.Errorf("%s: %w", dotenvName, err))
	}
	for _, name := range twice {
		l.warnings = append(l.warnings, fmt.Sprintf("%s is there twice: the last one is used (%s)", name, dotenvName))
	}
	return vars
}

// read reads a file that a user named.
func (l *loading) read(name string) ([]byte, error) {
	path := within(l.Dir, name)
	content, mode, err := readFile(path)
	l.exposed[name] = err == nil && mode&0o004 != 0 && runtime.GOOS != "windows"
	return content, err
}

// warnExposed warns of a file with secrets that every user of the machine may read. Docker mounts its secrets so, and
// knows no other way.
func (l *loading) warnExposed(file string, secrets ...string) {
	if len(secrets) == 0 || !l.exposed[file] || strings.HasPrefix(within(l.Dir, file), "/run/secrets/") {
		return
	}
	if len(secrets) > 3 {
		secrets = append(secrets[:3:3], "...")
	}
	l.warnings = append(l.warnings, fmt.Sprintf("every user of this machine may read %s, which holds secrets (%s): chmod 600 %s", file, strings.Join(secrets, ", "), file))
}

// file adds the configuration file: --config, EVOSINK_CONFIG, or the default one. Only that may be missing.
func (l *loading) file(environ, dotenv map[string]string) {
	name, named := cmp.Or(l.args.file, environ[prefix+"CONFIG"]), true
	found := name == ""
	if found {
		name = dotenv[prefix+"CONFIG"]
	}
	if name == "" {
		name, named = l.defaultFile(), false
	}
	if name == "" {
		return
	}
	content, err := l.read(name)
	switch {
	case named && errors.Is(err, fs.ErrNotExist):
		l.errs = append(l.errs, fmt.Errorf("the configuration file %s does not exist", name))
	case err != nil:
		l.errs = append(l.errs, fmt.Errorf("read the configuration file: %w", err))
	default:
		next, err := l.table.fileLayer(name, content)
		if next != nil {
			next.found, next.outside = found, !inside(l.Dir, name)
			l.warnExposed(name, l.table.secretsIn(next.values)...)
		}
		l.add(next, err)
	}
}

// defaultFile chooses among those in Dir.
func (l *loading) defaultFile() string {
	name, ignored := chooseFile(l.Dir)
	for _, other := range ignored {
		l.warnings = append(l.warnings, fmt.Sprintf("%s is not read, because %s is there", other, name))
	}
	return name
}

// variables adds a layer of variables.
func (l *loading) variables(source string, vars map[string]string) {
	below, err := l.layers.merged()
	if err != nil {
		l.errs = append(l.errs, err)
		below = koanf.New(".")
	}
	v := &variables{table: l.table, source: source, vars: vars, read: l.read}
	v.collect(below, l.Accepted)
	l.errs = append(l.errs, v.errs...)
	l.warnings = append(l.warnings, v.warnings...)
	next, err := newLayer(source, v.tree, v.names)
	if source == dotenvName && err == nil {
		next.found, next.outside = true, !inside(l.Dir, dotenvName)
		l.warnExposed(dotenvName, l.table.secretsIn(next.values)...)
	}
	for _, key := range slices.Sorted(maps.Keys(v.names)) {
		if name := v.names[key]; strings.HasSuffix(name, fileSuffix) {
			l.warnExposed(v.vars[name], key)
		}
	}
	l.add(next, err)
}

// decode fills the sections from all layers, and lets them validate.
func (l *loading) decode() {
	merged, err := l.layers.merged()
	if err != nil {
		l.errs = append(l.errs, err)
		return
	}
	d := &decoder{table: l.table, layers: l.layers}
	d.decode(merged)
	d.validate()
	l.errs = append(l.errs, d.errs...)
	l.warnings = append(l.warnings, d.warnings...)
}
