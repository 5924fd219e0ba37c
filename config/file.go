package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
)

// maxFile bounds what is read from any one file.
const maxFile = 1 << 20

// defaultFiles are looked for in Options.Dir when no file is named; the first one there is read.
var defaultFiles = []string{"config.yaml", "config.yml", "config.toml"}

// readFile reads a bounded file, and returns its mode; a byte order mark is dropped.
func readFile(path string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, 0, err
	}
	if len(b) > maxFile {
		return nil, 0, fmt.Errorf("%s is larger than %dMiB", path, maxFile>>20)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	return bytes.TrimPrefix(b, []byte("\ufeff")), info.Mode(), nil
}

// within resolves a path that the user wrote against dir.
func within(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// inside reports whether a file lies in dir or below it, when symbolic links are followed.
func inside(dir, name string) bool {
	root, err := filepath.EvalSymlinks(within(dir, "."))
	if err != nil {
		return false
	}
	path, err := filepath.EvalSymlinks(within(dir, name))
	if err != nil {
		return false
	}
	root, rootErr := filepath.Abs(root)
	path, pathErr := filepath.Abs(path)
	below, err := filepath.Rel(root, path)
	return rootErr == nil && pathErr == nil && err == nil && filepath.IsLocal(below)
}

// chooseFile returns the default file to read, or "", and those that are there but not read.
func chooseFile(dir string) (chosen string, ignored []string) {
	for _, name := range defaultFiles {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if chosen != "" {
			ignored = append(ignored, name)
			continue
		}
		chosen = name
	}
	return chosen, ignored
}

// parserFor chooses by the file's ending.
func parserFor(name string) (koanf.Parser, error) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml":
		return yaml.Parser(), nil
	case ".toml":
		return toml.Parser(), nil
	}
	return nil, fmt.Errorf("%s: want a name that ends in .yaml, .yml or .toml", name)
}

// fileLayer parses a configuration file, and checks its keys against the table.
func (t *table) fileLayer(name string, content []byte) (*layer, error) {
	parser, err := parserFor(name)
	if err != nil {
		return nil, err
	}
	if _, isYAML := parser.(*yaml.YAML); isYAML && secondDocument(content) {
		return nil, fmt.Errorf("%s: a second document begins at a --- line: only one is read, join them", name)
	}
	l := &layer{source: name, values: koanf.New(".")}
	normal := &normalizer{table: t, source: name}
	err = l.values.Load(rawbytes.Provider(content), parser, koanf.WithMergeFunc(func(src, dest map[string]any) error {
		normal.group(t.root, src, dest, nil)
		return nil
	}))
	if err != nil {
		return nil, fmt.Errorf("%s: %s", name, parseReason(err))
	}
	return l, errors.Join(normal.errs...)
}

// marker is a line that begins or ends a YAML document.
var marker = regexp.MustCompile(`(?m)^(---|\.\.\.)([ \t\r].*)?$`)

// secondDocument reports content before a --- line, which the parser would take alone, without a word.
func secondDocument(content []byte) bool {
	for i, at := range marker.FindAllIndex(content, -1) {
		before := content[:at[0]]
		if i > 0 || hasContent(before) {
			return content[at[0]] == '-'
		}
	}
	return false
}

func hasContent(b []byte) bool {
	for line := range bytes.Lines(b) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return true
		}
	}
	return false
}

// parseReason makes one line of a parser's error, without the file's text that YAML's may quote.
func parseReason(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if strings.Contains(text, "cannot unmarshal") {
		return "want sections and keys at the top (section: then key: value)"
	}
	return text
}
