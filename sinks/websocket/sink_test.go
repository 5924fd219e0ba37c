package websocket_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/websocket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	for name, scope := range map[string]sink.Scope{"/": sink.Global, "/sales": sink.Instance} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, sinktest.Subject{
				Scope: scope, Target: sink.Target(scope.String()), Settings: json.RawMessage(`{"enabled":true}`), Live: true,
				New: func(t *testing.T, h sink.Host) sink.Sink {
					c := websocket.DefaultConfig()
					c.GlobalEvents, c.LocalKeyless = true, true
					s, err := websocket.New(c, h)
					if err != nil {
						t.Fatal(err)
					}
					return s
				},
				Listen: func(t *testing.T, s sink.Sink) func() []string {
					server := httptest.NewServer(s.(http.Handler))
					t.Cleanup(server.Close)
					c, err := dial(t, server, "", nil)
					if err != nil {
						t.Fatal(err)
					}
					if answer := c.join(name, ""); !strings.HasPrefix(answer, "40") {
						t.Fatalf("joined with %s", answer)
					}
					return c.ids
				},
			})
		})
	}
}

// house is a hub with the websocket sink, served over HTTP.
type house struct {
	t        *testing.T
	bus      *lagging
	hub      *core.Hub
	registry *instances.Registry
	server   *httptest.Server
}

const key = "the-global-key"

func build(t *testing.T, configure func(*websocket.Config)) *house {
	t.Helper()
	return buildLogging(t, configure, zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel))
}

func buildLogging(t *testing.T, configure func(*websocket.Config), log zerolog.Logger) *house {
	t.Helper()
	engine, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return buildOn(t, engine, engine.Bus(), configure, log)
}

// An engine is a log and a store of instances.
type engine interface {
	sink.Log
	instances.Store
}

func buildOn(t *testing.T, engine engine, of bus.Bus, configure func(*websocket.Config), log zerolog.Logger) *house {
	t.Helper()
	registry, err := instances.Open(t.Context(), engine, instances.Sum(key))
	if err != nil {
		t.Fatal(err)
	}
	b := &lagging{Bus: of}
	hub, err := core.New(core.Options{
		Bus: b, Instances: registry, Log: engine,
		Logger: log,
		Sinks:  []*sink.Factory{sink.Use(websocket.Spec, func(c *websocket.Config) { c.Enabled = true }, configure)},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(hub.Mounts()[0])
	ran := make(chan error, 1)
	go func() { ran <- hub.Run(context.Background()) }()
	<-hub.Started()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := hub.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-ran; err != nil {
			t.Error(err)
		}
		server.Close()
		b.Close(ctx)
	})
	return &house{t, b, hub, registry, server}
}

func (h *house) create(name, token string) {
	h.t.Helper()
	if _, err := h.registry.Create(h.t.Context(), instances.Instance{Name: name}, token); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) set(name, settings string) {
	h.t.Helper()
	if _, err := h.registry.Set(h.t.Context(), name, websocket.Name, json.RawMessage(settings)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) emit(instance, name, data string) string {
	h.t.Helper()
	return h.emitAs("", instance, name, data)
}

// emitAs is emit with an id of the producer's.
func (h *house) emitAs(id, instance, name, data string) string {
	h.t.Helper()
	e := &event.Event{ID: id, Name: name, Instance: instance, Data: json.RawMessage(data)}
	if err := h.hub.Emit(h.t.Context(), e); err != nil {
		h.t.Fatal(err)
	}
	return e.ID
}

// dial opens a connection of a client that no address exempts from a key.
func (h *house) dial(query string) *client {
	h.t.Helper()
	c, err := dial(h.t, h.server, query, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

func noHosts(c *websocket.Config) { c.AllowedHosts = nil }

func global(c *websocket.Config) { c.GlobalEvents, c.AllowedHosts = true, nil }

func TestGlobalModeSendsEveryEventToTheRootInEvolutionsEnvelope(t *testing.T) {
	h := build(t, global)
	c := h.dial("&apikey=" + key)
	if answer := c.join("/", ""); !strings.HasPrefix(answer, `40{"sid":"`) {
		t.Fatalf("joined with %s", answer)
	}
	id := h.emit("sales", "MESSAGES_UPSERT", `{"text":"<b>", "n": 1.0}`)
	e := c.await(1)[0]
	if e.name != "messages.upsert" || string(e.data["event"]) != `"messages.upsert"` || string(e.data["instance"]) != `"sales"` ||
		string(e.data["data"]) != `{"text":"<b>", "n": 1.0}` || string(e.data["apikey"]) != "null" || string(e.data["id"]) != `"`+id+`"` {
		t.Errorf("got %s %s", e.name, e.data)
	}
}

func TestANamespaceOpensTheMomentItsInstanceEnablesIt(t *testing.T) {
	h := build(t, noHosts)
	h.create("my sales", "tok")
	c := h.dial("&apikey=tok")
	if answer := c.join("/my sales", ""); !strings.Contains(answer, "POST /websocket/set/my sales") {
		t.Errorf("before set: %s", answer)
	}
	h.set("my sales", `{"enabled":true,"events":["QRCODE_UPDATED"]}`)
	if answer := c.join("/my sales", ""); !strings.HasPrefix(answer, `40/my sales,{"sid"`) {
		t.Fatalf("after set, before any event: %s", answer)
	}
	h.emit("my sales", "messages.upsert", `1`)
	want := h.emit("my sales", "qrcode.updated", `2`)
	c.await(1)
	if ids := c.ids(); !slices.Equal(ids, []string{want}) {
		t.Errorf("got %v, want %v", ids, want)
	}
}

func TestBothModesAreAdditive(t *testing.T) {
	h := build(t, global)
	h.create("sales", "tok")
	h.set("sales", `{"enabled":true}`)
	all, one := h.dial("&apikey="+key), h.dial("&apikey=tok")
	all.join("/", "")
	one.join("/sales", "")
	h.emit("sales", "call", `1`)
	all.await(1)
	one.await(1)
}

func TestWhoOpensWhat(t *testing.T) {
	h := build(t, noHosts)
	for _, name := range []string{"a", "b", "unset"} {
		h.create(name, "token-of-"+name)
	}
	h.set("a", `{"enabled":true}`)
	h.set("b", `{"enabled":true}`)
	const invalid, joined = `{"message":"Invalid namespace"}`, `{"sid":"`
	for _, c := range []struct{ why, query, namespace, auth, want string }{
		{"the global key opens /", "&apikey=" + key, "/", "", joined},
		{"the global key opens every instance", "&apikey=" + key, "/a", "", joined},
		{"a token opens its instance", "&apikey=token-of-a", "/a", "", joined},
		{"a token opens no other instance", "&apikey=token-of-a", "/b", "", invalid},
		{"a token may join /, where it gets nothing", "&apikey=token-of-a", "/", "", joined},
		{"no key does not open /", "", "/", "", `{"message":"apiKey is required"}`},
		{"a wrong key does not open /", "", "/", `{"apikey":"wrong"}`, `{"message":"Invalid global token"}`},
		{"an instance that does not exist answers like a forbidden one", "&apikey=token-of-a", "/ghost", "", invalid},
		{"also to the global key", "&apikey=" + key, "/ghost", "", invalid},
		{"names are case-sensitive", "&apikey=" + key, "/A", "", invalid},
		{"the key may come with CONNECT", "", "/a", `{"apikey":"token-of-a"}`, joined},
		{"also as token", "", "/a", `{"token":"token-of-a"}`, joined},
		{"and then decides", "&apikey=token-of-b", "/a", `{"apikey":"token-of-a"}`, joined},
		{"also against the client", "&apikey=" + key, "/b", `{"apikey":"token-of-a"}`, invalid},
		{"a wrong key with CONNECT", "", "/a", `{"apikey":"wrong"}`, `{"message":"Invalid global token"}`},
		{"no key at all", "", "/a", "", `{"message":"apiKey is required"}`},
		{"no key and no such instance answer alike", "", "/ghost", "", `{"message":"apiKey is required"}`},
		{"not set, asked by its owner", "&apikey=token-of-unset", "/unset", "", "is not enabled"},
		{"not set, asked by another", "&apikey=token-of-a", "/unset", "", invalid},
		{"auth that is wrong", "&apikey=" + key, "/", `{"events":1}`, "auth must be like"},
		{"auth that is wrong inside", "&apikey=" + key, "/", `{"events":[1]}`, "auth must be like"},
		{"one event of several that is none", "&apikey=" + key, "/", `{"events":"CALL, MESSAGE_UPSERT"}`, "is no event"},
		{"events that are none", "&apikey=" + key, "/", `{"events":["MESSAGE_UPSERT"]}`, "is no event"},
	} {
		if answer := h.dial(c.query).join(c.namespace, c.auth); !strings.Contains(answer, c.want) {
			t.Errorf("%s: got %s, want %s", c.why, answer, c.want)
		}
	}
}

func TestAWrongKeyAtTheHandshakeIsRefusedInEvolutionsWords(t *testing.T) {
	h := build(t, func(*websocket.Config) {})
	_, err := dial(t, h.server, "&apikey=wrong", nil)
	r, ok := err.(refused)
	if !ok || r.answer == nil || r.answer.StatusCode != http.StatusBadRequest {
		t.Fatalf("websocket: %v", err)
	}
	if body, _ := io.ReadAll(r.answer.Body); string(body) != "Invalid global token" {
		t.Errorf("websocket: %q", body)
	}
	answer, err := http.Get(h.server.URL + "/socket.io/?EIO=4&transport=polling&apikey=wrong")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != http.StatusForbidden || string(body) != `{"code":4,"message":"Invalid global token"}` {
		t.Errorf("polling: %d %s", answer.StatusCode, body)
	}
}

func TestKeysInHeaders(t *testing.T) {
	h := build(t, noHosts)
	for name, header := range map[string]http.Header{
		"apikey": {"Apikey": {key}}, "bearer": {"Authorization": {"Bearer " + key}},
	} {
		c, err := dial(t, h.server, "", header)
		if err != nil {
			t.Fatal(name, err)
		}
		if answer := c.join("/", ""); !strings.HasPrefix(answer, "40") {
			t.Errorf("%s: %s", name, answer)
		}
	}
}

func TestAChangeOfTheInstanceDisconnectsWhomItShutsOut(t *testing.T) {
	for _, c := range []struct {
		why      string
		change   func(*house)
		owner    bool // is the token's holder disconnected?
		operator bool // is the global key's?
	}{
		{"disabling", func(h *house) { h.set("sales", `{"enabled":false}`) }, true, true},
		{"deleting", func(h *house) { h.registry.Delete(h.t.Context(), "sales") }, true, true},
		{"a new token", func(h *house) { h.registry.SetToken(h.t.Context(), "sales", "new") }, true, false},
		{"other events", func(h *house) { h.set("sales", `{"enabled":true,"events":["CALL"]}`) }, false, false},
	} {
		h := build(t, noHosts)
		h.create("sales", "tok")
		h.set("sales", `{"enabled":true}`)
		owner, operator := h.dial("&apikey=tok"), h.dial("&apikey="+key)
		owner.join("/sales", "")
		operator.join("/sales", "")
		c.change(h)
		h.create("other", "tok2")
		h.set("other", `{"enabled":true}`)
		for name, k := range map[string]*client{"owner": owner, "operator": operator} {
			// The first frame after the change is the disconnection, if there is one; else the answer to the next CONNECT.
			next := k.join("/other", `{"apikey":"tok2"}`)
			want := name == "owner" && c.owner || name == "operator" && c.operator
			if got := next == "41/sales,"; got != want {
				t.Errorf("%s, %s: got %q", c.why, name, next)
			}
		}
	}
}

func TestAClientMayAskForSomeEventsOnly(t *testing.T) {
	h := build(t, global)
	const some, all = "connection.update my.own call", "messages.upsert connection.update my.own call"
	for events, want := range map[string]string{
		`["CONNECTION_UPDATE","my.own","CALL"]`: some,
		`"CONNECTION_UPDATE,my.own, call"`:      some, // as clients of version 2 can ask
		`["ALL"]`:                               all,
		`["all"]`:                               all,
		`"All"`:                                 all,
		`["CALL","All"]`:                        all,
		`[]`:                                    all,
		`""`:                                    all,
		`null`:                                  all,
	} {
		c := h.dial("&apikey=" + key)
		c.join("/", `{"events":`+events+`}`)
		for _, name := range strings.Fields(all) {
			h.emit("a", name, `1`)
		}
		var got []string
		for _, e := range c.await(strings.Count(want, " ") + 1) {
			got = append(got, e.name)
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("with events %s: got %s", events, got)
		}
	}
}

func TestAllowedHostsThatAreNoneAreRefused(t *testing.T) {
	for _, hosts := range [][]string{
		{"10.0.0"}, {"Localhost"}, {"none", "127.0.0.1"}, {"evosink"}, {"127.0.0.1", "http://a"}, {"127.0.0.1", "a:80"}, {"127.0.0.1", "*.a.example"},
		{"10.0.0.0/33"}, {""},
	} {
		c := websocket.DefaultConfig()
		c.AllowedHosts = hosts
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "allowed_hosts: ") {
			t.Errorf("%q: %v", hosts, err)
		}
	}
	for _, hosts := range [][]string{nil, {"none"}, {"None"}, {"*"}, {"*", "evosink"}, {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, {"172.18.0.0/16", "events.internal"}} {
		c := websocket.DefaultConfig()
		c.AllowedHosts = hosts
		if err := c.Validate(); err != nil {
			t.Errorf("%q: %v", hosts, err)
		}
	}
}

func TestConfigurationSaysWhatIsWrong(t *testing.T) {
	c := websocket.DefaultConfig()
	c.PingInterval, c.AllowedHosts, c.Recovery = 0, []string{"localhost"}, -1
	c.Credentials = true
	err := c.Validate()
	for _, says := range []string{"ping_interval must be above 0", `allowed_hosts: "localhost" is neither`, "recovery must not be below 0", `credentials need origins by name, not "*"`} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
}
