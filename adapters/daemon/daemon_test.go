package daemon_test

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/evosink/evosink/adapters/daemon"
	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/webhook"
	"github.com/evosink/evosink/sinks/websocket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSinksLearnWhichServerTheyStandBehind(t *testing.T) {
	d := daemon.New("", daemon.Engine{}, sink.Use(websocket.Spec), sink.Use(webhook.Spec))
	if err := d.Load(nil, []string{
		"SERVER_TRUSTED_PROXIES=10.0.0.1", "WEBSOCKET_TRUSTED_PROXIES=10.0.0.2", "CORS_ORIGIN=https://a.example", "CORS_CREDENTIALS=true",
	}); err != nil {
		t.Fatal(err)
	}
	ws, hooks := d.Sinks[0].Config.(*websocket.Config), d.Sinks[1].Config.(*webhook.Config)
	if ws.Origins[0] != "https://a.example" || !ws.Credentials || !ws.LocalKeyless {
		t.Errorf("websocket stands behind origins %v, credentials %v, keyless %v", ws.Origins, ws.Credentials, ws.LocalKeyless)
	}
	if got := strings.Join(d.HTTP.Server.TrustedProxies, " "); got != "10.0.0.1 10.0.0.2" || strings.Join(ws.TrustedProxies, " ") != got {
		t.Errorf("trusted are %s by the server and %v by websocket", got, ws.TrustedProxies)
	}
	if hooks.Server != (webhook.Server{Host: "127.0.0.1", Port: 8080}) {
		t.Errorf("webhook stands behind %+v", hooks.Server)
	}
	own := daemon.New("", daemon.Engine{}, sink.Use(webhook.Spec))
	err := own.Load(nil, []string{"WEBHOOK_GLOBAL_ENABLED=true", "WEBHOOK_GLOBAL_URL=http://127.0.0.1:8080/"})
	if err == nil || !strings.HasPrefix(err.Error(), "sinks.webhook: global_enabled is true, but url") {
		t.Errorf("a global webhook that leads to the server itself is answered with %v", err)
	}
}

func TestAGeneratedKeyIsShownOnceAndOpensTheInstances(t *testing.T) {
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	d := daemon.New("", daemon.Engine{})
	var first, second strings.Builder
	if _, err := d.HTTP.Auth.OpenRegistry(t.Context(), engine, &first); err != nil {
		t.Fatal(err)
	}
	registry, err := d.HTTP.Auth.OpenRegistry(t.Context(), engine, &second)
	if err != nil {
		t.Fatal(err)
	}
	if words := strings.Fields(first.String()); second.Len() != 0 || len(words) == 0 {
		t.Errorf("it shows %q, then %q", first.String(), second.String())
	} else if global, _, ok := registry.Authenticate(words[len(words)-1]); !ok || !global {
		t.Errorf("%q opens nothing", words[len(words)-1])
	}
}
