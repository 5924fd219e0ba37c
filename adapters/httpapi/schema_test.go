package httpapi_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/evosink/evosink/adapters/httpapi"
)

const strictSchema = `{"type":"object","required":["enabled"],"additionalProperties":false,"properties":{
	"enabled":{"type":"boolean"},
	"events":{"type":"array","uniqueItems":true,"items":{"anyOf":[{"type":"string","minLength":1},{"type":"object","required":["name","kind"]}]}},
	"headers":{"type":"object","additionalProperties":{"type":"string","pattern":"^[a-z]+$"}}}}`

func TestInvalidSettingsCostLittle(t *testing.T) {
	s := newServer(t, func(o *httpapi.Options) { o.Sinks = append(o.Sinks, use("strict", strictSchema, switches{On: true})) })
	fill := func(before, unit, after string) string {
		return before + strings.Repeat(unit+",", (1<<20-100-len(before)-len(after))/(len(unit)+1)-1) + unit + after
	}
	long := strings.Repeat("x", 500_000)
	bodies := map[string]string{
		"numbers for events": fill(`{"strict":{"enabled":true,"events":[`, `7`, `]}}`),
		"empty lists":        fill(`{"strict":{"enabled":true,"events":[`, `[]`, `]}}`),
		"empty objects":      fill(`{"strict":{"enabled":true,"events":[`, `{}`, `]}}`),
		"lists of 2000":      fill(`{"strict":{"enabled":true,"events":[`, "["+strings.Repeat(`7,`, 1990)+`7]`, `]}}`),
		"unknown properties": fill(`{"strict":{"enabled":true,`, `"a":7`, `}}`),
		"depth":              strings.Repeat("[", 1<<19) + strings.Repeat("]", 1<<19-100),
		"a long name":        `{"strict":{"` + long + `":7,"headers":{"` + long + `":7}}}`,
		"2000 events":        `{"strict":{"enabled":true,"events":[` + strings.Repeat(`7,`, 1990) + `7]}}`,
		"2000 headers":       `{"strict":{"enabled":true,"headers":{` + headers(1990, 500, "VALUE") + `}}}`,
		"2000 properties":    `{"strict":{` + headers(1990, 500, "VALUE") + `}}`,
		"10000 values":       `{"strict":{"events":[` + strings.Repeat(`{"a":[7,7,7]},`, 1650) + `7]}}`,
	}
	for name, body := range bodies {
		for _, path := range []string{"/strict/set/sales", "/instance/create"} {
			if len(body) > 1<<20 {
				t.Fatalf("%s: the body has %d bytes", name, len(body))
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a := s.admin("POST", path, body)
			runtime.ReadMemStats(&after)
			a.says(t, 400)
			if allocated := (after.TotalAlloc - before.TotalAlloc) >> 20; allocated > 16 {
				t.Errorf("%s, %s: %d MiB for %d bytes", name, path, allocated, len(body))
			}
			if len(a.text) > 64<<10 {
				t.Errorf("%s, %s: answered with %d bytes", name, path, len(a.text))
			}
		}
	}
	s.admin("POST", "/strict/set/sales", `{"strict":{"enabled":true,"events":["a","b"],"headers":{`+headers(500, 10, "value")+`}}}`).says(t, 201)
}

// headers returns n members of an object with names of size bytes.
func headers(n, size int, value string) string {
	members := make([]string, n)
	for i := range members {
		name := strings.Repeat("h", size-8) + strings.Repeat(string(rune('a'+i%26)), 4)
		for k := i / 26; k > 0; k /= 26 {
			name += string(rune('a' + k%26))
		}
		members[i] = `"` + name + `":"` + value + `"`
	}
	return strings.Join(members, ",")
}
