package exec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/evosink/evosink/plugins/exec/child"
	"github.com/evosink/evosink/plugins/exec/wire"
)

// A Manifest is the file <name>.json beside a plugin's executable. It makes an executable in the plugins' folder a
// sink, and tells evosink about it before it runs for the first time. The configuration wins over it.
type Manifest struct {
	Protocol    int      `json:"protocol"`              // 1; what tells a manifest from other JSON files
	Command     string   `json:"command,omitempty"`     // the executable's name in the same folder; default the plugin's name
	Description string   `json:"description,omitempty"` // for people
	Args        []string `json:"args,omitempty"`
	Mode        string   `json:"mode,omitempty"` // "queued" (default) or "live"
	Global      bool     `json:"global,omitempty"`
	Events      []string `json:"events,omitempty"`
	// SettingsSchema is the JSON schema of what an instance may set, ConfigSchema that of the section config. What the
	// plugin itself says in its ready counts as well, and reads config again; only a manifest makes texts from
	// variables numbers before it has ever run.
	SettingsSchema json.RawMessage `json:"settings_schema,omitempty"`
	ConfigSchema   json.RawMessage `json:"config_schema,omitempty"`
}

// maxManifest bounds the file.
const maxManifest = 256 << 10

// errOther says that a JSON file is something else than a manifest.
var errOther = errors.New("no manifest: it has no \"protocol\"")

// readManifest reads and checks a manifest. Its errors name the file, and the key that is wrong.
func readManifest(path string) (*Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errOther
	}
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxManifest {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxManifest)
	}
	m, err := parseManifest(bytes.TrimPrefix(b, []byte("\ufeff")))
	if errors.Is(err, errOther) && hasExecutable(path) {
		err = fmt.Errorf("%w, and beside it is an executable of its name: a manifest has \"protocol\": %d", err, wire.Protocol)
	} else if errors.Is(err, errOther) {
		return nil, errOther
	}
	if err == nil {
		err = child.CheckMode(info)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// own are the keys by which a manifest is known, also when it is broken.
var own = []string{"protocol", "command", "mode", "global", "events", "settings_schema", "config_schema"}

// parseManifest returns errOther for what has none of a manifest's own keys: other JSON files may lie in the plugins'
// folder (package.json).
func parseManifest(b []byte) (*Manifest, error) {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(b, &keys); err != nil {
		for _, key := range own {
			if bytes.Contains(b, []byte(`"`+key+`"`)) {
				return nil, fmt.Errorf("it is no JSON object: %w", err)
			}
		}
		return nil, fmt.Errorf("%w, and is no JSON object: %w", errOther, err)
	}
	m := &Manifest{}
	fields := map[string]any{
		"protocol": &m.Protocol, "command": &m.Command, "description": &m.Description, "args": &m.Args, "mode": &m.Mode, "global": &m.Global,
		"events": &m.Events, "settings_schema": &m.SettingsSchema, "config_schema": &m.ConfigSchema,
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		into, known := fields[key] // encoding/json alone would take a key in any case
		if !known {
			errs = append(errs, fmt.Errorf("unknown field %q: a manifest has %s", key, strings.Join(slices.Sorted(maps.Keys(fields)), ", ")))
			continue
		}
		var wrong *json.UnmarshalTypeError
		if err := json.Unmarshal(keys[key], into); errors.As(err, &wrong) {
			errs = append(errs, fmt.Errorf("%s must not be a JSON %s", key, wrong.Value))
		} else if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	if _, ok := keys["protocol"]; !ok {
		for _, key := range own {
			if _, ok := keys[key]; ok {
				return nil, errors.Join(append(errs, fmt.Errorf("protocol is missing: it is %d", wire.Protocol))...)
			}
		}
		return nil, errOther
	}
	if errs != nil {
		return nil, errors.Join(append(errs, m.validate())...)
	}
	return m, m.validate()
}

func (m *Manifest) validate() error {
	var errs []error
	if m.Protocol != wire.Protocol {
		errs = append(errs, fmt.Errorf("protocol is %d; this evosink speaks %d", m.Protocol, wire.Protocol))
	}
	if m.Command != "" && (m.Command != filepath.Base(m.Command) || !filepath.IsLocal(m.Command)) {
		errs = append(errs, errors.New("command must be the name of a file in the same folder"))
	}
	p := DefaultPlugin()
	p.Mode, p.Events = m.Mode, m.Events
	for _, err := range p.check() {
		errs = append(errs, errors.New(strings.TrimPrefix(err.Error(), ".")))
	}
	for key, raw := range map[string]json.RawMessage{"settings_schema": m.SettingsSchema, "config_schema": m.ConfigSchema} {
		if _, err := newSchema(raw); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	return errors.Join(errs...)
}

// dropped returns the manifests in a folder, by the names of their plugins.
func dropped(dir string) (map[string]*Manifest, error) {
	if dir == "" {
		return nil, nil
	}
	files, err := filepath.Glob(filepath.Join(escaped(dir), "*.json"))
	if err == nil && len(files) == 0 {
		_, err = os.Stat(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("plugin_dir: %w", err)
	}
	found := map[string]*Manifest{}
	var errs []error
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		m, err := readManifest(path)
		switch {
		case err == errOther: //nolint:errorlint // what wraps it is an error
		case err != nil:
			errs = append(errs, fmt.Errorf("manifest %w", err))
		default:
			found[name] = m
			for _, err := range checkName(name) {
				errs = append(errs, fmt.Errorf("manifest %s%w", path, err))
			}
		}
	}
	return found, errors.Join(errs...)
}

// hasExecutable reports whether beside a manifest there is what it would be about: a file of its name, or of its name
// and another ending.
func hasExecutable(manifest string) bool {
	name := strings.TrimSuffix(filepath.Base(manifest), ".json")
	files, _ := os.ReadDir(filepath.Dir(manifest))
	return slices.ContainsFunc(files, func(f fs.DirEntry) bool {
		base := strings.TrimSuffix(f.Name(), filepath.Ext(f.Name()))
		if f.Name() != name && (base != name || filepath.Ext(f.Name()) == ".json") {
			return false
		}
		info, err := os.Stat(filepath.Join(filepath.Dir(manifest), f.Name()))
		return err == nil && info.Mode().IsRegular() && (info.Mode().Perm()&0o111 != 0 || runtime.GOOS == "windows")
	})
}

// escaped writes a folder's name so that filepath.Glob takes it as it is.
func escaped(dir string) string {
	if filepath.Separator == '\\' {
		return dir // there is no escaping there
	}
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// manifestFor reads the manifest beside a configured command, nil if there is none.
func manifestFor(name, command string) (*Manifest, error) {
	m, err := readManifest(filepath.Join(filepath.Dir(command), name+".json"))
	if errors.Is(err, fs.ErrNotExist) || err == errOther { //nolint:errorlint // what wraps it is an error
		return nil, nil
	}
	return m, err
}
