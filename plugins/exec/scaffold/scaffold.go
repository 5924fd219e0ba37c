// Package scaffold writes a plugin to begin with, which works as it is: "evosink plugin new".
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/evosink/evosink/plugins/exec"
)

//go:embed templates
var templates embed.FS

// Languages are those that there is a plugin in.
var Languages = []string{"go", "node", "python"}

// A Plugin is what to write.
type Plugin struct {
	Language string // one of [Languages]
	Name     string // of the plugin, and of the folder unless Dir is set
	Dir      string // where to; it must not exist, or be empty
	SDK      string // in Go: a checkout of evosink to build with instead of a released version
	Version  string // in Go: the version of evosink to build with; empty leaves that to go get
}

// files are what there is in each language beside the manifest: templates, and what they become. A name with a star gets the plugin's.
var files = map[string]map[string]string{
	"go":     {"main.go.tmpl": "main.go", "go.mod.tmpl": "go.mod", "README.md.tmpl": "README.md"},
	"node":   {"main.js.tmpl": "*.js", "README.md.tmpl": "README.md"},
	"python": {"main.py.tmpl": "*.py", "README.md.tmpl": "README.md"},
}

// values are what templates know.
type values struct {
	Plugin
	Variable string // the name in variables
	Command  string
}

// Write writes the plugin and returns the files, in the order to look at them. Nothing is overwritten.
func Write(p Plugin) ([]string, error) {
	if files[p.Language] == nil {
		return nil, fmt.Errorf("there is no plugin in %q to begin with: choose one of %s", p.Language, strings.Join(Languages, ", "))
	}
	if err := exec.CheckName(p.Name); err != nil {
		return nil, err
	}
	if p.Dir == "" {
		p.Dir = p.Name
	}
	if err := p.local(); err != nil {
		return nil, err
	}
	if entries, err := os.ReadDir(p.Dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty", p.Dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return nil, err
	}
	return p.write()
}

// local makes SDK absolute, and a version of it that go.mod can name.
func (p *Plugin) local() (err error) {
	if p.SDK == "" {
		return nil
	}
	if p.SDK, err = filepath.Abs(p.SDK); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(p.SDK, "plugins", "sdk")); err != nil {
		return fmt.Errorf("%s is no checkout of evosink: %w", p.SDK, err)
	}
	p.Version = "v0.0.0"
	return nil
}

func (p Plugin) write() (written []string, err error) {
	v := values{p, strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_")), p.Name + extension[p.Language]}
	for _, name := range []string{"main.go.tmpl", "main.js.tmpl", "main.py.tmpl", "go.mod.tmpl", "README.md.tmpl"} {
		to, ok := files[p.Language][name]
		if !ok {
			continue
		}
		to = filepath.Join(p.Dir, strings.Replace(to, "*", p.Name, 1))
		if err := v.execute(p.Language+"/"+name, to); err != nil {
			return written, err
		}
		written = append(written, to)
	}
	to := filepath.Join(p.Dir, p.Name+".json")
	return append(written, to), v.execute("manifest.json.tmpl", to)
}

// extension is that of the file that runs.
var extension = map[string]string{"node": ".js", "python": ".py"}

func (v values) execute(name, to string) error {
	t, err := template.ParseFS(templates, "templates/"+name)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if filepath.Base(to) == v.Command {
		mode = 0o755
	}
	return os.WriteFile(to, bytes.TrimSuffix(b.Bytes(), []byte("\n\n")), mode)
}
