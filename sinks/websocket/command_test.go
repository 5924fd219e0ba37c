package websocket_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/evosink/evosink/adapters/commands"
	"github.com/evosink/evosink/core"
	evosocket "github.com/evosink/evosink/sinks/websocket"
)

// emit sends a frame as it is.
func (c *client) emit(frame string) { c.conn.WriteMessage(websocket.TextMessage, []byte(frame)) }

// commanding is a house with instances a and b, and a client of the key given in the namespace given.
func commanding(t *testing.T, query, namespace string, configure func(*evosocket.Config)) (*house, *client) {
	t.Helper()
	h := build(t, configure)
	for _, name := range []string{"a", "b"} {
		h.create(name, "token-of-"+name)
		h.set(name, `{"enabled":true}`)
	}
	c := h.dial(query)
	if answer := c.join(namespace, ""); !strings.HasPrefix(answer, "40") {
		t.Fatal(answer)
	}
	return h, c
}

func echo(_ context.Context, c core.Command) (any, error) {
	return map[string]any{"instance": c.Instance, "data": c.Data, "key": c.Key}, nil
}

func TestACommandIsDoneAndItsAnswerAcknowledged(t *testing.T) {
	h, c := commanding(t, "&apikey=token-of-a", "/a", noHosts)
	h.hub.Handle("send.message", echo)
	c.emit(`42/a,7["send.message",{"message":"Hello, World!"}]`)
	const want = `43/a,7[{"ok":true,"result":{"data":{"message":"Hello, World!"},"instance":"a","key":"token-of-a"}}]`
	if got := c.frame(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestACommandThatIsNotDoneIsAnsweredWithACode(t *testing.T) {
	for _, k := range []struct{ why, query, namespace, emit, code string }{
		{"unknown", "&apikey=token-of-a", "/a", `["other",{}]`, "unknown_command"},
		{"another instance, from /", "&apikey=" + key, "/", `["send.message",{"instance":"ghost"}]`, "forbidden"},
		{"no instance, from /", "&apikey=" + key, "/", `["send.message",{}]`, "forbidden"},
		{"listening needs no key, commanding does", "", "/a", `["send.message",{}]`, "unauthorized"},
		{"too large", "&apikey=token-of-a", "/a", `["send.message",{"x":"` + strings.Repeat("x", 300<<10) + `"}]`, "too_large"},
		{"two arguments", "&apikey=token-of-a", "/a", `["send.message",1,2]`, "invalid"},
		{"handler failed", "&apikey=token-of-a", "/a", `["fail",{}]`, "failed"},
		{"handler too slow", "&apikey=token-of-a", "/a", `["slow",{}]`, "timeout"},
	} {
		h, c := commanding(t, k.query, k.namespace, func(c *evosocket.Config) {
			c.LocalKeyless = k.query == ""
			if k.code == "timeout" {
				c.CommandTimeout = 50 * time.Millisecond
			}
		})
		h.hub.Handle("send.message", echo)
		h.hub.Handle("fail", func(context.Context, core.Command) (any, error) { return nil, errors.New("the password is hunter2") })
		h.hub.Handle("slow", func(ctx context.Context, _ core.Command) (any, error) { <-ctx.Done(); return nil, ctx.Err() })
		prefix := ""
		if k.namespace != "/" {
			prefix = k.namespace + ","
		}
		c.emit("42" + prefix + "1" + k.emit)
		got := c.frame()
		if !strings.HasPrefix(got, "43"+prefix+`1[{"ok":false,"error":{"code":"`+k.code+`"`) || strings.Contains(got, "hunter2") {
			t.Errorf("%s, with acknowledgement: %.200s", k.why, got)
		}
		c.emit("42" + prefix + k.emit)
		if e := c.await(1)[0]; e.name != "command.error" || !strings.Contains(string(e.data["error"]), k.code) {
			t.Errorf("%s, without acknowledgement: %s %s", k.why, e.name, e.data)
		}
	}
}

func TestAnInstancesKeyCommandsItsOwnInstanceOnly(t *testing.T) {
	h, c := commanding(t, "&apikey=token-of-a", "/a", noHosts)
	h.hub.Handle("send.message", echo)
	c.emit(`42/a,1["send.message",{"instance":"b"}]`)
	if got := c.frame(); !strings.Contains(got, `"instance":"a","key"`) {
		t.Errorf("on the namespace of an instance the data name another: %s", got)
	}
	if _, err := h.registry.SetToken(t.Context(), "b", "other"); err != nil {
		t.Fatal(err)
	}
}

func TestCommandsAreLimitedByRate(t *testing.T) {
	h, c := commanding(t, "&apikey=token-of-a", "/a", func(c *evosocket.Config) { c.CommandRate = 2 })
	h.hub.Handle("send.message", echo)
	for range 10 {
		c.emit(`42/a,1["send.message",{}]`)
	}
	done, refused := 0, 0
	for range 10 {
		switch got := c.frame(); {
		case strings.Contains(got, `"ok":true`):
			done++
		case strings.Contains(got, "rate_limited"):
			refused++
		}
	}
	if done < 4 || refused < 4 {
		t.Errorf("%d done, %d refused", done, refused)
	}
}

func TestKeysOfAuthAndOfCommandsAreExact(t *testing.T) {
	h, _ := commanding(t, "&apikey=token-of-a", "/a", noHosts)
	if answer := h.dial("&apikey=token-of-a").join("/a", `{"events":["call"],"Events":["no such","event"],"APIKEY":"wrong"}`); !strings.HasPrefix(answer, "40/a") {
		t.Errorf("keys that are none of ours are answered with %s", answer)
	}
	h.hub.Handle("send.message", echo)
	c := h.dial("&apikey=" + key)
	c.join("/", "")
	c.emit(`421["send.message",{"instance":"a","Instance":"b"}]`)
	if got := c.frame(); !strings.Contains(got, `"instance":"a","key"`) {
		t.Errorf("the command is done on %s", got)
	}
}

func TestWithoutHandlersACommandIsAnsweredAsUnavailable(t *testing.T) {
	h, c := commanding(t, "&apikey=token-of-a", "/a", func(c *evosocket.Config) { c.AllowedHosts, c.CommandRate = nil, 2 })
	c.emit(`42/a,["send.message",{"message":"Hello, World!"}]`)
	e := c.await(1)[0]
	if e.name != "command.error" || string(e.data["command"]) != `"send.message"` || string(e.data["ok"]) != "false" ||
		!strings.Contains(string(e.data["error"]), `"code":"unavailable"`) {
		t.Errorf("without acknowledgement: %s %s", e.name, e.data)
	}
	c.emit(`42/a,1["send.message",{}]`)
	if got := c.frame(); !strings.HasPrefix(got, `43/a,1[{"ok":false,"error":{"code":"unavailable"`) {
		t.Errorf("with acknowledgement: %s", got)
	}
	for range 6 {
		c.emit(`42/a,1["send.message",{}]`)
	}
	refused := 0
	for range 6 {
		if strings.Contains(c.frame(), "rate_limited") {
			refused++
		}
	}
	if refused < 3 {
		t.Errorf("%d of a burst of 8 were over the rate of 2 per second", refused)
	}
	id := h.emit("a", "call", `1`)
	if e := c.await(2)[1]; string(e.data["id"]) != `"`+id+`"` {
		t.Errorf("the event behind them is %s %s", e.name, e.data)
	}
}

func TestTheRelayAsksTheMainAPIInTheCallersName(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.EscapedPath() {
		case "/message/sendText/a":
			w.WriteHeader(http.StatusCreated)
			json.NewEncoder(w).Encode(map[string]string{"method": r.Method, "key": r.Header.Get("apikey"), "body": string(body)})
		case "/chat/sendPresence/a":
			w.WriteHeader(http.StatusBadRequest)
			w.Write([]byte(`{"error":"number is missing"}`))
		case "/chat/archiveChat/a":
			http.Redirect(w, r, "http://127.0.0.1:1/steal", http.StatusTemporaryRedirect)
		case "/instance/connectionState/a":
			w.Write([]byte("plain text"))
		}
	}))
	defer api.Close()
	h, c := commanding(t, "&apikey=token-of-a", "/a", noHosts)
	config := commands.Default()
	config.URL = api.URL + "/"
	config.Routes["gone"], config.Routes["send.media"] = "POST /message/sendText/{instance}", ""
	relay, err := commands.New(config)
	if err != nil {
		t.Fatal(err)
	}
	relay.Handle(h.hub)
	for emit, want := range map[string]string{
		`["send.message",{"number":"1","text":"hi"}]`: `{"ok":true,"result":{"body":"{\"number\":\"1\",\"text\":\"hi\"}","key":"token-of-a","method":"POST"}}`,
		`["chat.presence",{}]`:                        `{"ok":false,"error":{"code":"invalid","message":"the main API answered 400 Bad Request","status":400,"details":{"error":"number is missing"}}}`,
		`["chat.archive",{}]`:                         `{"ok":false,"error":{"code":"failed","message":"the main API answered 307 Temporary Redirect","status":307,"details":null}}`,
		`["instance.state"]`:                          `{"ok":true,"result":"plain text"}`,
		`["send.media",{}]`:                           `{"ok":false,"error":{"code":"unknown_command","message":"there is no command \"send.media\""}}`,
	} {
		c.emit("42/a,1" + emit)
		if got := strings.TrimSuffix(strings.TrimPrefix(c.frame(), "43/a,1["), "]"); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", emit, got, want)
		}
	}
	api.Close()
	c.emit(`42/a,1["send.message",{}]`)
	if got := c.frame(); !strings.Contains(got, `"code":"unavailable"`) || strings.Contains(got, "127.0.0.1") {
		t.Errorf("while the main API is down: %s", got)
	}
}
