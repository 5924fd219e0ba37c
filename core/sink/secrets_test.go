package sink_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/evosink/evosink/core/sink"
)

const withSecrets = `{
	"$defs": {"secret": {"type": "string", "writeOnly": true}, "again": {"$ref": "#/$defs/secret"}, "circle": {"allOf": [{"$ref": "#/$defs/circle"}, {"writeOnly": true}]}},
	"properties": {
		"plain": {"type": "string"},
		"secret": {"$ref": "#/$defs/again"},
		"round": {"$ref": "#/$defs/circle"},
		"secrets": {"type": "array", "items": {"$ref": "#/$defs/secret"}},
		"pair": {"prefixItems": [{"type": "string"}, {"writeOnly": true}]},
		"any": {"anyOf": [{"type": "null"}, {"type": "string", "writeOnly": true}]},
		"whole": {"writeOnly": true},
		"map": {"properties": {"open": {}}, "patternProperties": {"^x-": {"writeOnly": true}}, "additionalProperties": {"properties": {"key": {"writeOnly": true}}}},
		"list": {"items": {"properties": {"name": {}, "secret": {"$ref": "#/$defs/secret"}}}}
	},
	"if": {"required": ["late"]}, "then": {"properties": {"late": {"writeOnly": true}}},
	"dependentSchemas": {"plain": {"properties": {"dependent": {"writeOnly": true}}}}
}`

func decoded(t testing.TB, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSecretsAreHiddenWhereverTheSchemaNamesThem(t *testing.T) {
	for stored, want := range map[string]string{
		`{"plain":"<a>","secret":"s","z":1.50}`:                                        `{"plain":"<a>","secret":"***","z":1.50}`,
		`{"round":"s","secrets":["a","b"],"pair":["a","b"],"any":"s"}`:                 `{"round":"***","secrets":["***","***"],"pair":["a","***"],"any":"***"}`,
		`{"whole":{"a":{"b":1}}}`:                                                      `{"whole":"***"}`,
		`{"secret":null,"any":"","whole":7}`:                                           `{"secret":null,"any":"","whole":"***"}`,
		`{"map":{"open":{"key":"a"},"x-a":"b","y":{"key":"c","d":"e"}}}`:               `{"map":{"open":{"key":"a"},"x-a":"***","y":{"key":"***","d":"e"}}}`,
		`{"list":[{"name":"a","secret":"s"},{"name":"b"},7],"late":"s","dependent":1}`: `{"list":[{"name":"a","secret":"***"},{"name":"b"},7],"late":"***","dependent":"***"}`,
		`{ "secret" : "s" , "plain" : [ ] }`:                                           `{"secret":"***","plain":[]}`,
		`{"\u0073ecret":"s"}`:                                                          `{"secret":"***"}`,
		`{}`:                                                                           `{}`,
		`7`:                                                                            `7`,
		``:                                                                             ``,
	} {
		got, err := sink.HideSecrets(decoded(t, withSecrets), json.RawMessage(stored))
		if err != nil || string(got) != want {
			t.Errorf("%s is shown as %s, %v; want %s", stored, got, err, want)
		}
	}
	for _, broken := range []string{`{"secret":"s"`, `{"secret"`, `[{"secret":`, `{"plain":x}`} {
		if got, err := sink.HideSecrets(decoded(t, withSecrets), json.RawMessage(broken)); err == nil {
			t.Errorf("%s is shown as %s", broken, got)
		}
	}
	if got, err := sink.HideSecrets(decoded(t, `{"properties":{"a":{}}}`), json.RawMessage(`{"a" : "x"}`)); err != nil || string(got) != `{"a" : "x"}` {
		t.Errorf("without secrets: %s, %v", got, err)
	}
}

func TestMasksStandForWhatIsStored(t *testing.T) {
	const stored = `{"plain":"***","secret":"S","secrets":["A","B"],"whole":{"n":12345678901234567890},"map":{"x-a":"X"},` +
		`"list":[{"name":"a","secret":"LA"},{"name":"b","secret":"LB"}]}`
	for block, want := range map[string]string{
		`{"secret":"***","whole":"***"}`: `{"secret":"S","whole":{"n":12345678901234567890}}`,
		`{}`:                             `{"secret":"S","whole":{"n":12345678901234567890}}`,
		`{"secret":"new","whole":null,"any":null}`:                                                  `{"any":null,"secret":"new"}`,
		`{"secret":"","whole":1,"plain":"***"}`:                                                     `{"plain":"***","secret":"","whole":1}`,
		`{"secret":1,"whole":1,"secrets":["***","***"]}`:                                            `{"secret":1,"secrets":["A","B"],"whole":1}`,
		`{"secret":1,"whole":1,"secrets":["new","***"]}`:                                            `{"secret":1,"secrets":["new","A"],"whole":1}`,
		`{"secret":1,"whole":1,"secrets":[]}`:                                                       `{"secret":1,"secrets":[],"whole":1}`,
		`{"secret":1,"whole":1,"map":{"x-a":"***"}}`:                                                `{"map":{"x-a":"X"},"secret":1,"whole":1}`,
		`{"secret":1,"whole":1,"list":[{"name":"b","secret":"***"}]}`:                               `{"list":[{"name":"b","secret":"LB"}],"secret":1,"whole":1}`,
		`{"secret":1,"whole":1,"list":[{"secret":"***"}]}`:                                          `list.0.secret is "***"`,
		`{"secret":1,"whole":1,"list":[{"name":"c","secret":"***"}],"secrets":["***","***","***"]}`: `list.0.secret is "***"`,
		`{"secret":1,"whole":1,"map":{"x-b":"***"}}`:                                                `map.x-b is "***"`,
	} {
		v := decoded(t, block)
		err := sink.RestoreSecrets(decoded(t, withSecrets), v, json.RawMessage(stored))
		got, _ := json.Marshal(v)
		if err == nil && string(got) != want || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s becomes %s, %v; want %s", block, got, err, want)
		}
	}
	for _, block := range []string{`7`, `null`, `[]`, `"***"`} {
		if err := sink.RestoreSecrets(decoded(t, withSecrets), decoded(t, block), nil); err != nil {
			t.Errorf("%s: %v", block, err)
		}
	}
	if err := sink.RestoreSecrets(decoded(t, withSecrets), decoded(t, `{"secret":"***","any":"***"}`), nil); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two masks for nothing: %v", err)
	}
}

func FuzzHideSecrets(f *testing.F) {
	for _, seed := range []string{`{"secret":"hunter2","secrets":["hunter2"]}`, `{"list":[{"name":"a","secret":"hunter2"}],"map":{"x-a":"hunter2"}}`, `{"a":{"b":[{}]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		shown, err := sink.HideSecrets(decoded(t, withSecrets), stored)
		if err != nil || !json.Valid(stored) {
			return
		}
		if !json.Valid(shown) {
			t.Fatalf("%s is shown as %s", stored, shown)
		}
		again, err := sink.HideSecrets(decoded(t, withSecrets), shown)
		if err != nil || string(again) != string(shown) {
			t.Fatalf("%s is shown as %s, and that as %s, %v", stored, shown, again, err)
		}
		var block any
		if json.Unmarshal(shown, &block) == nil && strings.Count(string(stored), sink.Mask) == 0 {
			_ = sink.RestoreSecrets(decoded(t, withSecrets), block, stored)
		}
	})
}
