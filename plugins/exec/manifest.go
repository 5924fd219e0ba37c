package exec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/evosink/evosink/plugins/exec/wire"
)

// A Manifest is the file <name>.json beside a plugin's executable. It makes an executable in the plugins' folder a sink, and tells evosink
// about it before it runs for the first time. The configuration wins over it.
type Manifest struct {
	Protocol    int      `json:"protocol"`              // 1; what tells a manifest from other JSON files
	Command     string   `json:"command,omitempty"`     // the executable's name in the same folder; default the plugin's name
	Description string   `json:"description,omitempty"` // for people
	Args        []string `json:"args,omitempty"`
	Mode        string   `json:"mode,omitempty"` // "queued" (default) or "live"
	Global      bool     `json:"global,omitempty"`
	Events      []string `json:"events,omitempty"`
	// SettingsSchema is the JSON schema of what an instance may set, ConfigSchema that of the section config. What the plugin itself says
	// in its ready counts as well, and reads config again; only a manifest makes texts from variables numbers before it has ever run.
	SettingsSchema json.RawMessage `json:"settings_schema,omitempty"`
	ConfigSchema   json.RawMessage `json:"config_schema,omitempty"`
}

// maxManifest bounds the file.
const maxManifest = 256 << 10

// errOther says that a JSON file is something else than a manifest.
var errOther = errors.New("no manifest: it has no \"protocol\"")

// readManifest reads and checks a manifest.
func readManifest(path string) (*Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxManifest {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxManifest)
	}
	m, err := parseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func parseManifest(b []byte) (*Manifest, error) {
	var kind struct {
		Protocol *int `json:"protocol"`
	}
	if json.Unmarshal(b, &kind) == nil && kind.Protocol == nil {
		return nil, errOther
	}
	m := &Manifest{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, err
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
		case errors.Is(err, errOther):
		case err != nil && !hasExecutable(path): // package.json with comments, and the like
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

// hasExecutable reports whether beside a manifest there is what it would be about.
func hasExecutable(manifest string) bool {
	_, err := os.Stat(strings.TrimSuffix(manifest, ".json"))
	return err == nil
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
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errOther) {
		return nil, nil
	}
	return m, err
}
