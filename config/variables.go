package config

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"
)

// variables turns one set of variables, the environment's or a .env file's, into a layer's tree.
// An empty variable is one that is not set, as in Evolution API's example files.
type variables struct {
	table  *table
	source string
	vars   map[string]string
	read   func(path string) ([]byte, error) // of the files that hold secrets

	tree     map[string]any
	names    map[string]string
	errs     []error
	warnings []string
}

// environment reads os.Environ's form; of two entries for one name the last wins.
func environment(environ []string) map[string]string {
	vars := map[string]string{}
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok {
			vars[name] = value
		}
	}
	return vars
}

// collect fills the tree: exact names first, then patterns (SQS_GLOBAL_ENABLED is no event of
// SQS_GLOBAL_*). below are the layers so far.
func (v *variables) collect(below *koanf.Koanf, accepted []string) {
	v.tree, v.names = map[string]any{}, map[string]string{}
	for _, n := range v.table.ordered() {
		v.leaf(n)
	}
	for _, name := range v.sorted() {
		if _, exact := v.table.exact[name]; exact {
			continue
		}
		if p, at := v.table.match(name, below); p != nil && (p.into != nil || !v.serviceLink(name)) {
			v.entry(p, at, name)
			continue
		}
		v.stranger(name, accepted)
	}
}

// ordered returns the nodes that exact names lead to, each once, in the order of the table.
func (t *table) ordered() []*node {
	seen := map[*node]bool{}
	for _, c := range t.exact {
		seen[c.leaf] = true
	}
	return slices.DeleteFunc(slices.Clone(t.leaves), func(n *node) bool { return !seen[n] })
}

// sorted returns the names of the variables that are set, those with our prefix first: they win.
func (v *variables) sorted() []string {
	names := slices.Collect(maps.Keys(v.vars))
	names = slices.DeleteFunc(names, func(n string) bool { return v.vars[n] == "" })
	slices.SortFunc(names, func(a, b string) int {
		if own := strings.HasPrefix(a, prefix); own != strings.HasPrefix(b, prefix) {
			if own {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return names
}

// leaf takes the first of n's variables that is set, and says so when another one disagrees.
func (v *variables) leaf(n *node) {
	taken, text := "", ""
	for _, name := range n.variables() {
		if strings.Contains(name, "*") {
			continue
		}
		for _, form := range forms(name) {
			from, value, err := v.lookup(n, form)
			switch {
			case err != nil:
				v.errs = append(v.errs, &Error{Key: n.key(), Origin: origin{source: v.source, name: from}.detail(), Reason: err.Error()})
				return
			case value == "" || value == text:
			case taken != "":
				v.warnings = append(v.warnings, fmt.Sprintf("%s and %s both set %s: %s is used (%s)", taken, from, n.key(), taken, v.source))
			default:
				taken, text = from, value
				v.set(n, n.path, from, value)
			}
		}
	}
}

// lookup returns the variable that is set, name or name_FILE, and its text.
func (v *variables) lookup(n *node, name string) (from, text string, err error) {
	if v.serviceLink(name) {
		return name, "", nil
	}
	text = v.vars[name]
	if n.shape != shapeSecret || v.vars[name+fileSuffix] == "" {
		return name, text, nil
	}
	from = name + fileSuffix
	if text != "" {
		return from, "", fmt.Errorf("%s is set too: keep one of them", name)
	}
	b, err := v.read(v.vars[from])
	if err != nil {
		return from, "", err
	}
	text = strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if text == "" {
		return from, "", fmt.Errorf("the file %s is empty", v.vars[from])
	}
	return from, text, nil
}

// set stores text for n at a path, unless a stronger name already did.
func (v *variables) set(n *node, at []string, name, text string) {
	key := strings.Join(at, ".")
	if _, taken := v.names[key]; taken {
		return
	}
	v.names[key] = name
	value := n.fromText(text)
	setPath(v.tree, at, value)
	if entries, ok := value.(map[string]any); ok {
		for e := range entries {
			v.names[key+"."+e] = name
		}
	}
}

// entry stores a variable that a pattern matched.
func (v *variables) entry(p *pattern, at []string, name string) {
	n := p.node.elem
	if n == nil {
		n = &node{shape: shapeString} // a free-form map takes text as it stands
	}
	v.set(n, at, name, v.vars[name])
}

// serviceLinks are the variables by which Kubernetes tells a pod of each service of its namespace, name and value
// together: a service called server sets SERVER_PORT=tcp://10.96.3.4:8080, one called webhook-events sets
// WEBHOOK_EVENTS_SERVICE_HOST=10.96.3.4.
var serviceLinks = []struct{ name, value *regexp.Regexp }{
	{regexp.MustCompile(`_PORT(_\d+_(TCP|UDP|SCTP))?$`), regexp.MustCompile(`^(tcp|udp|sctp)://[^/@\s]+:\d+$`)},
	{regexp.MustCompile(`_PORT_\d+_(TCP|UDP|SCTP)_PROTO$`), regexp.MustCompile(`^(tcp|udp|sctp)$`)},
	{regexp.MustCompile(`_PORT_\d+_(TCP|UDP|SCTP)_PORT$|_SERVICE_PORT(_[A-Z0-9_]+)?$`), regexp.MustCompile(`^\d+$`)},
	{regexp.MustCompile(`_PORT_\d+_(TCP|UDP|SCTP)_ADDR$|_SERVICE_HOST$`), regexp.MustCompile(`^[0-9a-fA-F.:]+$`)},
}

// serviceLink reports a variable that Kubernetes has set and no user has. One with a name of ours is worth a warning,
// once.
func (v *variables) serviceLink(name string) bool {
	for _, link := range serviceLinks {
		if !link.name.MatchString(name) || !link.value.MatchString(v.vars[name]) {
			continue
		}
		warning := fmt.Sprintf("%s=%s is not used: Kubernetes has set it for the service of that name (%s); enableServiceLinks: false in the pod's spec keeps "+
			"such variables away", name, v.vars[name], v.source)
		_, pattern := v.table.match(name, koanf.New("."))
		if _, exact := v.table.exact[name]; (exact || pattern != nil) && !slices.Contains(v.warnings, warning) {
			v.warnings = append(v.warnings, warning)
		}
		return true
	}
	return false
}

// stranger warns of a variable under a prefix of ours that has no key.
func (v *variables) stranger(name string, accepted []string) {
	ours := slices.ContainsFunc(v.table.prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	known := func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	}
	if !ours || slices.ContainsFunc(accepted, known) || v.serviceLink(name) {
		return
	}
	words := slices.Sorted(maps.Keys(v.table.exact))
	v.warnings = append(v.warnings, fmt.Sprintf("unknown variable %s (%s)%s", name, v.source, didYouMean(name, words)))
}
