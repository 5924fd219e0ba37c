package exec

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/plugins/exec/child"
)

// Factories returns a factory for each plugin that is configured or lies in the plugins' folder, in the order of their
// names. taken are the names of other sinks. It runs nothing. A file that is missing or unsafe is no error here: the
// sink exists, and says so by its health.
func (c *Config) Factories(taken ...string) ([]*sink.Factory, error) {
	dir := c.Dir
	if dir != "" {
		var err error
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, fmt.Errorf("plugin_dir: %w", err)
		}
	}
	manifests, err := dropped(dir)
	errs := []error{err}
	all := maps.Clone(c.Plugins)
	if all == nil {
		all = map[string]Plugin{}
	}
	for name := range manifests {
		if _, ok := all[name]; !ok {
			all[name] = DefaultPlugin()
		}
	}
	var out []*sink.Factory
	for _, name := range slices.Sorted(maps.Keys(all)) {
		p := all[name]
		p.dir, p.manifest = dir, manifests[name]
		f, err := factory(name, p, taken)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, f)
	}
	return out, errors.Join(errs...)
}

func factory(name string, p Plugin, taken []string) (*sink.Factory, error) {
	if slices.Contains(taken, name) || name == "instance" {
		return nil, fmt.Errorf("plugins.%s: the name is taken: give the plugin another", name)
	}
	return Factory(name, p)
}

// Factory returns the factory of one plugin. Its command must be absolute, unless p comes from [Config.Factories].
func Factory(name string, p Plugin) (*sink.Factory, error) {
	for _, err := range append(checkName(name), p.check()...) {
		return nil, fmt.Errorf("plugins.%s%w", name, err)
	}
	if err := p.resolve(name); err != nil {
		return nil, fmt.Errorf("plugins.%s%w", name, err)
	}
	c, err := newContract(p.manifest)
	if err != nil {
		return nil, fmt.Errorf("plugins.%s: manifest: %w", name, err)
	}
	settings, _ := c.schemas()
	schema, err := json.Marshal(settings.raw)
	if err != nil {
		return nil, err
	}
	return sink.Use(sink.Spec[Plugin]{
		Name: name, Mode: p.mode(),
		Defaults: func() Plugin { return p },
		Enabled:  func(p *Plugin) bool { return p.Enabled },
		Rule:     func(p *Plugin) sink.Rule { return sink.Rule{Global: *p.Global, Events: event.NewFilter(p.Events...)} },
		Settings: &sink.Settings{Schema: schema, Normalize: c.normalize},
		New: func(p Plugin, h sink.Host) (sink.Sink, error) {
			return newSink(name, p, c, h.Logger), nil
		},
	}), nil
}

// resolve finds the executable, and takes from its manifest what is not configured.
func (p *Plugin) resolve(name string) (err error) {
	switch {
	case p.Command == "" && p.manifest == nil && p.dir == "":
		return errors.New(".command is missing: the path of an executable, or set plugin_dir and put it there")
	case p.Command == "" && p.manifest == nil && p.Enabled:
		return fmt.Errorf(".command is missing, and %s has no manifest %s.json", p.dir, name)
	case p.Command == "" && p.manifest != nil && p.manifest.Command != "":
		p.Command = p.manifest.Command
	case p.Command == "":
		p.Command = name
	case !filepath.IsAbs(p.Command) && p.dir == "":
		return errors.New(".command is not absolute, and plugin_dir is not set")
	}
	if !filepath.IsAbs(p.Command) {
		p.Command = filepath.Join(p.dir, p.Command)
	}
	if p.manifest == nil {
		if p.manifest, err = manifestFor(name, p.Command); err != nil {
			return fmt.Errorf(": manifest %w", err)
		}
	}
	p.inherit()
	return nil
}

func (p *Plugin) inherit() {
	m := p.manifest
	if m == nil {
		m = &Manifest{}
	}
	if p.Args == nil {
		p.Args = m.Args
	}
	if p.Mode == "" {
		p.Mode = m.Mode
	}
	if p.Global == nil {
		p.Global = &m.Global
	}
	if p.Events == nil {
		p.Events = m.Events
	}
}

func (p *Plugin) mode() sink.Mode {
	if p.Mode == live {
		return sink.Live
	}
	return sink.Queued
}

// program is what the plugin's process runs.
func (p *Plugin) program() child.Command {
	return child.Command{Path: p.Command, Args: p.Args, Env: p.Env, SHA256: p.SHA256}
}

// Guard makes what plugins have started end even when this process is killed by SIGKILL, see [child.Guard]. A main
// function that calls it does so before anything else; a program that cannot still ends all of it whenever it ends a
// plugin itself.
func Guard() { child.Guard() }
