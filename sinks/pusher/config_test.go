package pusher_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/pusher"
)

func TestValidateSaysWhatToDoByTheUsersKey(t *testing.T) {
	for says, change := range map[string]func(*pusher.Config){
		"global_app_id must not be empty":    func(c *pusher.Config) { c.GlobalEnabled = true },
		"global_secret must be of printable": func(c *pusher.Config) { c.GlobalEnabled, c.Secret = true, "a b" },
		"global_cluster must be of letters":  func(c *pusher.Config) { c.GlobalEnabled, c.Cluster = true, "eu.evil.example/" },
		"global_cluster must not be empty":   func(c *pusher.Config) { c.GlobalEnabled = true },
		"host must be a host":                func(c *pusher.Config) { c.Host = "http://x" },
		"max_event_bytes must be":            func(c *pusher.Config) { c.MaxEventBytes = 0 },
		"timeout must be above 0":            func(c *pusher.Config) { c.Timeout = 0 },
		"events.MESSAGE_UPSERT: there is no": func(c *pusher.Config) { c.Events = sink.Switches{"MESSAGE_UPSERT": true} },
	} {
		c := pusher.Defaults()
		change(&c)
		if err := c.Validate(); err != nil {
			t.Errorf("a sink that is off is not fine: %v", err)
		}
		c.Enabled = true
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want it to say %q", err, says)
		}
	}
	c := newServer(t).config() // no cluster is needed where there is a host
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestSettingsAreStoredAsEvolutionStoresThem(t *testing.T) {
	f := sink.Use(pusher.Spec)
	const app = `"appId":"1","key":"k","secret":"s","cluster":"eu","useTLS":true`
	all, _ := json.Marshal(event.Settable())
	for _, c := range []struct{ block, previous, want string }{
		{`{"enabled":true,` + app + `,"events":["CALL"]}`, ``, `{"enabled":true,` + app + `,"events":["CALL"]}`},
		{`{"enabled":true,` + app + `,"events":[]}`, ``, `{"enabled":true,` + app + `,"events":` + string(all) + `}`},
		{`{"enabled":true,` + app + `}`, ``, `{"enabled":true,` + app + `,"events":` + string(all) + `}`},
		{`{"enabled":false}`, `{"enabled":true,` + app + `,"events":["CALL"]}`, `{"enabled":false,` + app + `,"events":["CALL"]}`},
		{`{"enabled":false}`, ``, `{"enabled":false,"appId":"","key":"","secret":"","cluster":"","useTLS":false,"events":[]}`},
		{`{"enabled":true,` + app + `,"events":["CALL"],"other":1}`, `{`, `{"enabled":true,` + app + `,"events":["CALL"]}`},
	} {
		var previous json.RawMessage
		if c.previous != "" {
			previous = json.RawMessage(c.previous)
		}
		got, err := f.Normalize(json.RawMessage(c.block), previous)
		if err != nil || string(got) != c.want {
			t.Errorf("%s on %s:\ngot  %s, %v\nwant %s", c.block, c.previous, got, err, c.want)
		}
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	f := sink.Use(pusher.Spec)
	for block, says := range map[string]string{
		`{"enabled":true,"appId":"","key":"k","secret":"s","cluster":"eu","useTLS":true}`:             "appId must not be empty",
		`{"enabled":true,"appId":"1","key":"k","secret":"s","cluster":"eu@evil.example","events":[]}`: "cluster must be of letters, digits and -",
		`{"enabled":true,"appId":"../x","key":"k","secret":"s","cluster":"eu"}`:                       "appId must be of",
		`[]`: "the settings must be an object like",
	} {
		if _, err := f.Normalize(json.RawMessage(block), nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", block, err)
		}
	}
}

func TestTheSchemaDemandsWhatEvolutionDemands(t *testing.T) {
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(pusher.Spec.Settings.Schema)))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("pusher.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("pusher.json")
	if err != nil {
		t.Fatal(err)
	}
	for block, ok := range map[string]bool{
		`{"enabled":true,"appId":"1","key":"k","secret":"s","cluster":"eu","useTLS":true,"events":[]}`: true,
		`{"enabled":true,"appId":"1","key":"k","secret":"s","cluster":"eu","useTLS":true}`:             true,
		`{"enabled":false}`: true,
		`{}`:                false,
		`{"enabled":true,"appId":"1","key":"k","secret":"s","cluster":"eu"}`:                 false,
		`{"enabled":true,"appId":1,"key":"k","secret":"s","cluster":"eu","useTLS":true}`:     false,
		`{"enabled":true,"appId":"1","key":"k","secret":"s","cluster":"eu","useTLS":"true"}`: false,
		`{"enabled":"yes","appId":"1","key":"k","secret":"s","cluster":"eu","useTLS":true}`:  false,
		`{"enabled":false,"events":"CALL"}`:                                                  false,
	} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(block))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); (err == nil) != ok {
			t.Errorf("%s: %v", block, err)
		}
	}
}

func TestTheRuleIsAdditiveAndGlobalOnlyWithAnEvent(t *testing.T) {
	if r := sink.Use(pusher.Spec, func(c *pusher.Config) { c.GlobalEnabled = true }).Rule(); r.Global {
		t.Error("global without any event")
	}
	r := sink.Use(pusher.Spec, func(c *pusher.Config) { c.GlobalEnabled, c.Events = true, sink.Switches{"CALL": true} }).Rule()
	if !r.Global || r.Exclusive || !r.Events.Has("call") || r.Events.Has("messages.upsert") {
		t.Errorf("got %+v", r)
	}
}
