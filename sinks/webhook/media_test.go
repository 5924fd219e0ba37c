package webhook_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/evosink/evosink/sinks/webhook"
)

func TestMediaIsCutOutAndNothingElse(t *testing.T) {
	for data, want := range map[string]string{
		``:                              ``,
		`[]`:                            `[]`,
		`1.0`:                           `1.0`,
		`{"message":{"base64":"AAAA"}}`: `{"message":{}}`,
		` { "message" : { "a" : 1.0 , "base64" : "A\"}{" , "b":[{"base64":1}] } , "x":2 } `: ` { "message" : {"a":1.0,"b":[{"base64":1}]} , "x":2 } `,
		`{"base64":"stays","qrcode":{"base64":"stays"}}`:                                    `{"base64":"stays","qrcode":{"base64":"stays"}}`,
		`{"message":"base64 \"base64\""}`:                                                   `{"message":"base64 \"base64\""}`,
		`{"message":["base64"]}`:                                                            `{"message":["base64"]}`,
		`{"Message":{"base64":"Evolution Go's stays"}}`:                                     `{"Message":{"base64":"Evolution Go's stays"}}`,
		`{"message":{"base64":{"deep":["}"]}},"message":{"base64":1}}`:                      `{"message":{},"message":{}}`,
		`{"a":"\\","message":{"c":null,"base64":true,"d":-1e5}}`:                            `{"a":"\\","message":{"c":null,"d":-1e5}}`,
	} {
		if got := webhook.WithoutMedia(json.RawMessage(data)); string(got) != want {
			t.Errorf("%s\n got %s\nwant %s", data, got, want)
		}
	}
}

func FuzzWithoutMedia(f *testing.F) {
	for _, seed := range []string{
		`{"message":{"base64":"AAAA","a":[1,{"b":"c"}]},"x":null}`, `{"message":{"base64":1}`, `{"message":{}}`, `[`, `{"a":"\`, `{"base64":"base64"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		got := webhook.WithoutMedia(data) // must not panic, whatever it gets
		if !bytes.Equal(before, data) {
			t.Fatal("the shared bytes were changed")
		}
		var was, is map[string]any
		if !json.Valid(data) || json.Unmarshal(data, &was) != nil {
			return
		}
		if err := json.Unmarshal(got, &is); err != nil {
			t.Fatalf("%s became %s: %v", data, got, err)
		}
		if message, ok := was["message"].(map[string]any); ok && bytes.Contains(data, []byte(`"base64"`)) {
			if cut, ok := is["message"].(map[string]any); ok && len(cut) < len(message) {
				delete(message, "base64")
			}
		}
		if !reflect.DeepEqual(was, is) {
			t.Fatalf("%s became %s", data, got)
		}
	})
}
