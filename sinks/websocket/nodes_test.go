package websocket_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/instances/storetest"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/websocket"
)

// A client may come to one node a moment after another has made its instance, given it a token or enabled its websocket,
// and before the change has arrived.
func TestWhatAnotherNodeHasMadeLetsAClientInAtOnce(t *testing.T) {
	settings := map[string]instances.Settings{websocket.Name: {Value: json.RawMessage(`{"enabled":true}`)}}
	for name, join := range map[string]struct {
		handshake, connect string
		enabled            bool // that is what is new, else the instance is
	}{
		"the token of the handshake":  {handshake: "&apikey=token"},
		"the token of the CONNECT":    {connect: `{"token":"token"}`},
		"an instance":                 {handshake: "&apikey=" + key},
		"a websocket that is enabled": {handshake: "&apikey=token", enabled: true},
	} {
		t.Run(name, func(t *testing.T) {
			engine, err := memory.New(memory.DefaultConfig())
			if err != nil {
				t.Fatal(err)
			}
			other, err := instances.Open(t.Context(), engine, instances.Sum(key))
			if err != nil {
				t.Fatal(err)
			}
			create := func(settings map[string]instances.Settings) {
				if _, err := other.Create(t.Context(), instances.Instance{Name: "sales", Settings: settings}, "token"); err != nil {
					t.Fatal(err)
				}
			}
			if join.enabled {
				create(nil)
			}
			store := storetest.NewLagging(engine)
			h := buildOn(t, struct {
				sink.Log
				instances.Store
			}{engine, store}, engine.Bus(), func(*websocket.Config) {}, zerolog.Nop())
			store.Lag()
			if join.enabled {
				if _, err := other.Set(t.Context(), "sales", websocket.Name, settings[websocket.Name].Value); err != nil {
					t.Fatal(err)
				}
			} else {
				create(settings)
			}
			if answer := h.dial(join.handshake).join("/sales", join.connect); !strings.HasPrefix(answer, "40/sales,") {
				t.Errorf("the CONNECT was answered with %s", answer)
			}
		})
	}
}
