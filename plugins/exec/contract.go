package exec

import (
	"encoding/json"
	"fmt"
	"maps"
	"sync"

	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/plugins/exec/wire"
)

// A contract is what a plugin has said about the values that it accepts, by its manifest until it has been ready once. The routes of its
// settings and its processes share it.
type contract struct {
	mu sync.RWMutex
	// mu guards the fields below.
	settings, config *schema
}

func newContract(m *Manifest) (*contract, error) {
	c := &contract{settings: subscription(nil)}
	if m == nil {
		return c, nil
	}
	return c, c.learn(wire.Reply{SettingsSchema: m.SettingsSchema, ConfigSchema: m.ConfigSchema})
}

// learn takes the schemas that are given; those that are not stay.
func (c *contract) learn(said wire.Reply) error {
	settings, err := newSchema(said.SettingsSchema)
	if err != nil {
		return fmt.Errorf("settings_schema: %w", err)
	}
	config, err := newSchema(said.ConfigSchema)
	if err != nil {
		return fmt.Errorf("config_schema: %w", err)
	}
	if settings != nil {
		if settings, err = compile(subscription(settings).raw); err != nil {
			return fmt.Errorf("settings_schema: %w", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if settings != nil {
		c.settings = settings
	}
	if config != nil {
		c.config = config
	}
	return nil
}

// schemas returns what is known now.
func (c *contract) schemas() (settings, config *schema) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.settings, c.config
}

// subscription adds to a plugin's schema what the settings of every sink have: enabled and events.
func subscription(of *schema) *schema {
	var base map[string]any
	_ = json.Unmarshal(sink.PlainSettings().Schema, &base) // ours
	if of == nil {
		s, _ := compile(base) // ours
		return s
	}
	merged := maps.Clone(of.raw)
	properties := maps.Clone(base["properties"].(map[string]any))
	if theirs, ok := of.raw["properties"].(map[string]any); ok {
		for key, value := range theirs {
			if _, ours := properties[key]; !ours {
				properties[key] = value
			}
		}
	}
	required := []any{"enabled"}
	if theirs, ok := of.raw["required"].([]any); ok {
		for _, key := range theirs {
			if key != "enabled" {
				required = append(required, key)
			}
		}
	}
	merged["type"], merged["properties"], merged["required"] = "object", properties, required
	return &schema{raw: merged}
}

// normalize turns a block of an instance's settings into the stored form, see [sink.Settings]. The block is checked again, by what the
// plugin says now: the routes know the manifest's schema only. A block that disables the sink keeps what it does not mention.
func (c *contract) normalize(block, previous json.RawMessage) (json.RawMessage, error) {
	keys := map[string]any{}
	if err := json.Unmarshal(block, &keys); err != nil {
		return nil, err
	}
	settings, _ := c.schemas()
	if err := settings.check("settings", keys); err != nil {
		return nil, err
	}
	stored := map[string]json.RawMessage{}
	if enabled, _ := keys["enabled"].(bool); !enabled && len(previous) > 0 {
		if err := json.Unmarshal(previous, &stored); err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(block, &stored); err != nil {
		return nil, err
	}
	plain, err := sink.Subscribe(block, previous)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(plain, &stored); err != nil {
		return nil, err
	}
	return json.Marshal(stored)
}
