package config

import (
	"io"
	"strings"
)

// Schema writes the JSON schema (2020-12) of the configuration file: for an editor's completion and for checks
// outside evosink. It is what Load accepts, less the spellings that only text needs (yes for true, "8080" for 8080).
func (c *Config) Schema(w io.Writer) error {
	root := c.schemaOf(c.table.root)
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "evosink configuration"
	return writeJSON(w, root)
}

// schemaOf describes what may stand at n.
func (c *Config) schemaOf(n *node) map[string]any {
	s := c.shapeSchema(n)
	if n.help != "" {
		s["description"] = n.help
	}
	if !n.shape.leaf() || n.shape == shapeSecret || strings.Contains(n.key(), "*") {
		return s
	}
	if d := lookup(c.defaults, n.path); d != nil && !isRedacted(textOf(d)) {
		s["default"] = d
	}
	return s
}

func (c *Config) shapeSchema(n *node) map[string]any {
	switch n.shape {
	case shapeGroup:
		return c.groupSchema(n)
	case shapeEntries:
		return nullable(map[string]any{"type": "object", "additionalProperties": c.schemaOf(n.entry)})
	case shapeOpaque:
		return nullable(map[string]any{"type": "object"})
	case shapeMap:
		return nullable(map[string]any{"type": "object", "additionalProperties": c.schemaOf(n.elem)})
	case shapeList:
		return map[string]any{"type": []any{"array", "string", "null"}, "items": c.schemaOf(n.elem)}
	}
	return scalarSchema(n)
}

func (c *Config) groupSchema(n *node) map[string]any {
	properties := map[string]any{}
	for _, child := range n.children {
		properties[child.name()] = c.schemaOf(child)
	}
	return nullable(map[string]any{"type": "object", "additionalProperties": false, "properties": properties})
}

// nullable lets an empty section stand: it says nothing, and erases nothing.
func nullable(s map[string]any) map[string]any {
	s["type"] = []any{s["type"], "null"}
	return s
}

func scalarSchema(n *node) map[string]any {
	switch n.shape {
	case shapeBool:
		return map[string]any{"type": "boolean"}
	case shapeInt:
		return map[string]any{"type": "integer"}
	case shapeUint:
		return map[string]any{"type": "integer", "minimum": 0}
	case shapeFloat:
		return map[string]any{"type": "number"}
	case shapeDuration:
		types := []any{"string"}
		if n.unit != 0 {
			types = append(types, "integer")
		}
		return map[string]any{"type": types, "examples": []any{"500ms", "30s", "5m"}}
	case shapeSecret:
		return map[string]any{"type": "string", "writeOnly": true}
	case shapeText:
		if n.word() == "1MiB" {
			return map[string]any{"type": []any{"string", "integer"}, "examples": []any{"64KB", "1MiB"}}
		}
	}
	return map[string]any{"type": "string"}
}
