package sdk

import (
	"bytes"
	"encoding/json"
	"testing"
)

// cut is what members makes of an object.
func cut(b []byte) (map[string]string, error) {
	got := map[string]string{}
	err := members(b, func(key, value []byte) error {
		var name string
		if err := json.Unmarshal([]byte(`"`+string(key)+`"`), &name); err != nil {
			return err
		}
		got[name] = string(value)
		return nil
	})
	return got, err
}

func TestWhatIsNoObjectIsRefused(t *testing.T) {
	for _, bad := range []string{``, `{`, `}`, `[]`, `7`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1 "b":2}`, `{"a:1}`, `{a:1}`, `{"a":[1}`, `{"a":"\"}`, `{"a":]}`, `{,}`} {
		if got, err := cut([]byte(bad)); err == nil {
			t.Errorf("%s is read as %q", bad, got)
		}
	}
}

// FuzzMembers compares with encoding/json on every object that it takes.
func FuzzMembers(f *testing.F) {
	for _, seed := range []string{`{}`, ` { "a" : 1 , "b":"x\"y\\" } `, `{"a":{"b":[1,"]}",{}]},"c":null,"\u0061":true,"":-1e5}`, hello, "{\"a\":\n[\t1 ]\r}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := cut(b)
		var want map[string]json.RawMessage
		if json.Unmarshal(b, &want) != nil || want == nil {
			return // members may be lenient, but must not fail
		}
		if err != nil || len(got) != len(want) {
			t.Fatalf("%q: got %q, %v", b, got, err)
		}
		for key, value := range want {
			if !bytes.Equal(value, []byte(got[key])) {
				t.Errorf("%q: %q is %q, want %q", b, key, got[key], value)
			}
		}
	})
}

const hello = `{"type":"init","protocol":1,"name":"x","node":"n","config":{"url":"http://x"}}`
