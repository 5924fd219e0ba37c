package websocket_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink/sinktest"
	"github.com/evosink/evosink/sinks/websocket"
)

// poll joins a namespace by polling, with headers of its own on every request, and returns the answer to the handshake
// if that is a refusal, else the answer to CONNECT.
func (h *house) poll(header http.Header, namespace, auth string) string {
	h.t.Helper()
	do := func(method, query, body string) string {
		r, err := http.NewRequest(method, h.server.URL+"/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body))
		if err != nil {
			h.t.Fatal(err)
		}
		for name, values := range header {
			r.Header[name] = values
		}
		r.Host = header.Get("Host")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			h.t.Fatal(err)
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return string(text)
	}
	open := do("GET", "", "")
	var session struct{ SID string }
	if json.Unmarshal([]byte(strings.TrimPrefix(open, "0")), &session); session.SID == "" {
		return open
	}
	query := "&sid=" + session.SID
	if namespace != "/" {
		auth = namespace + "," + auth
	}
	do("POST", query, "40"+auth)
	answer := do("GET", query, "")
	do("POST", query, "1")
	return answer
}

// raw sends a request as it stands and returns the answer, up to the end of the connection.
func (h *house) raw(request string) string {
	h.t.Helper()
	conn, err := net.Dial("tcp", h.server.Listener.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, request)
	answer, err := io.ReadAll(conn)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(answer)
}

func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func TestWhoNeedsNoKey(t *testing.T) {
	local := func(c *websocket.Config) { c.LocalKeyless = true }
	hosts := func(hosts ...string) func(*websocket.Config) {
		return func(c *websocket.Config) { c.AllowedHosts = hosts }
	}
	loopback := hosts("127.0.0.1", "::1", "::ffff:127.0.0.1") // as Evolution API's example has it
	behind := func(proxy string, of ...string) func(*websocket.Config) {
		return func(c *websocket.Config) { c.AllowedHosts, c.TrustedProxies = of, []string{proxy} }
	}
	trusted := behind("127.0.0.1", "127.0.0.1", "::1", "10.1.0.0/16")
	page := func(origins ...string) func(*websocket.Config) {
		return func(c *websocket.Config) { c.LocalKeyless, c.Origins = true, origins }
	}
	const evil, app = "https://evil.example", "https://app.example"
	for _, c := range []struct {
		why       string
		configure func(*websocket.Config)
		header    http.Header
		ok        bool
	}{
		{"nobody by default, because there is a key", func(*websocket.Config) {}, nil, false},
		{"without a key of the operator's, local clients", local, nil, true},
		{"the word none", func(c *websocket.Config) { c.LocalKeyless, c.AllowedHosts = true, []string{"none"} }, nil, false},
		{"the word *", hosts("*"), nil, true},
		{"Evolution API's list", loopback, nil, true},
		{"a range", hosts("127.0.0.0/8"), nil, true},
		{"the mapped form", hosts("::ffff:127.0.0.1"), nil, true},
		{"another address", hosts("10.0.0.1"), nil, false},

		{"called localhost", loopback, headers("Host", "LocalHost:8080"), true},
		{"called by IPv6 loopback", loopback, headers("Host", "[::1]:8080"), true},
		{"called by a listed address", hosts("127.0.0.1", "10.0.0.0/8"), headers("Host", "10.1.2.3"), true},
		{"called by a listed name", hosts("127.0.0.1", "Evosink"), headers("Host", "evosink:8080"), true},
		{"DNS rebinding", local, headers("Host", "rebind.evil"), false},
		{"DNS rebinding of all that are private", hosts("*"), headers("Host", "rebind.evil"), false},
		{"DNS rebinding of a name that begins alike", loopback, headers("Host", "localhost.rebind.evil"), false},
		{"called by the outside of a tunnel", loopback, headers("Host", "203.0.113.9:8080"), false},
		{"called by an address that only looks like loopback", local, headers("Host", "0.0.0.0:8080"), false},

		{"a page of another site", local, headers("Origin", evil), false},
		{"a page of another site, all private", hosts("*"), headers("Origin", evil), false},
		{"a page of another site although every origin may connect", page("*"), headers("Origin", evil), false},
		{"a page that has no origin", local, headers("Origin", "null"), false},
		{"a page that is named", page(app), headers("Origin", app), true},
		{"a page of localhost", local, headers("Origin", "http://localhost:3000"), true},
		{"a page of loopback", local, headers("Origin", "http://127.0.0.1:3000"), true},
		{"a page of localhost's namesake", local, headers("Origin", "http://localhost.evil.example"), false},
		{"a page of a listed name", hosts("127.0.0.1", "evosink"), headers("Origin", "http://evosink"), true},
		{"two origins", local, headers("Origin", "http://localhost", "Origin", evil), false},
		{"a page of another site without its origin", local, headers("Sec-Fetch-Site", "cross-site"), false},
		{"no page", local, headers("Sec-Fetch-Site", "none"), true},

		{"a proxy", loopback, headers("X-Forwarded-For", "1.2.3.4"), false},
		{"a proxy that claims loopback", loopback, headers("X-Forwarded-For", "127.0.0.1"), false},
		{"a proxy by another header", loopback, headers("Forwarded", "for=1.2.3.4"), false},
		{"a proxy by a header of its own", loopback, headers("X-Forwarded-Ssl", "on"), false},
		{"a proxy without a key of the operator's", local, headers("Via", "1.1 x"), false},
		{"a trusted proxy, other client", trusted, headers("X-Forwarded-For", "1.2.3.4"), false},
		{"a trusted proxy, allowed client", trusted, headers("X-Forwarded-For", "6.6.6.6, 10.1.2.3"), true},
		{"a trusted proxy, allowed client with a port", trusted, headers("X-Forwarded-For", "10.1.2.3:4711"), true},
		{"a trusted proxy, called by another name", trusted, headers("X-Forwarded-For", "10.1.2.3", "Host", "api.example"), false},
		{"what the client wrote itself does not count", trusted, headers("X-Forwarded-For", "10.1.2.3, 6.6.6.6"), false},
		{"a trusted proxy, a private client of *", behind("127.0.0.1", "*"), headers("X-Forwarded-For", "192.168.1.7"), true},
		{"a trusted proxy, a public client of *", behind("127.0.0.1", "*"), headers("X-Forwarded-For", "8.8.8.8"), false},
		{"a trusted proxy that does not tell", trusted, headers("Via", "1.1 x"), false},
		{"a trusted proxy that says nothing at all", trusted, nil, false},
		{"a trusted proxy that hands on the client's own ::1", trusted, headers("X-Forwarded-For", "::1"), false},
	} {
		h := build(t, c.configure)
		k, err := dial(t, h.server, "", c.header)
		if err != nil {
			t.Fatal(c.why, err)
		}
		polled := h.poll(c.header, "/", "")
		for transport, answer := range map[string]string{"websocket": k.join("/", ""), "polling": polled} {
			if strings.HasPrefix(answer, "40") != c.ok || !c.ok && answer != `44{"message":"apiKey is required"}` {
				t.Errorf("%s, by %s: %s", c.why, transport, answer)
			}
		}
	}
}

func TestAClientThatSpeaksHTTP10AsProxiesDoNeedsAKey(t *testing.T) {
	h := build(t, func(c *websocket.Config) { c.LocalKeyless = true })
	raw := func(version string) string {
		return h.raw("GET /socket.io/?EIO=4&transport=polling HTTP/" + version + "\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	}
	for version, want := range map[string]string{"1.0": `44{"message":"apiKey is required"}`, "1.1": `40{"sid"`} {
		_, open, _ := strings.Cut(raw(version), "\r\n\r\n")
		var session struct{ SID string }
		json.Unmarshal([]byte(strings.TrimPrefix(open, "0")), &session)
		h.raw("POST /socket.io/?EIO=4&transport=polling&sid=" + session.SID + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n40")
		if answer := h.raw("GET /socket.io/?EIO=4&transport=polling&sid=" + session.SID + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); !strings.Contains(answer, want) {
			t.Errorf("HTTP/%s: %s", version, answer)
		}
	}
}

func TestAPageOfAnOriginThatMayNotConnectIsRefusedByBothTransports(t *testing.T) {
	const app, evil = "https://app.example", "https://evil.example"
	only := func(c *websocket.Config) { c.Origins = []string{app} }
	for _, c := range []struct {
		why       string
		configure func(*websocket.Config)
		header    http.Header
		ok        bool
	}{
		{"all", func(*websocket.Config) {}, headers("Origin", evil), true},
		{"the one named", only, headers("Origin", app), true},
		{"another", only, headers("Origin", evil), false},
		{"another scheme", only, headers("Origin", "http://app.example"), false},
		{"a second one", only, headers("Origin", app, "Origin", evil), false},
		{"none", only, headers("Origin", "null"), false},
		{"no page", only, nil, true},
		{"the server's own", only, headers("Origin", "https://api.example", "Host", "api.example"), true},
		{"another, switched off", func(c *websocket.Config) { only(c); c.CheckOrigin = false }, headers("Origin", evil), true},
	} {
		h := build(t, c.configure)
		answer := h.poll(c.header, "/", `{"apikey":"`+key+`"}`)
		if strings.HasPrefix(answer, "40") != c.ok || !c.ok && !strings.Contains(answer, "pages of this origin are not allowed here") {
			t.Errorf("%s, by polling: %s", c.why, answer)
		}
		k, err := dial(t, h.server, "", c.header)
		if (err == nil) != c.ok {
			t.Errorf("%s, by websocket: %v", c.why, err)
		}
		if k != nil && !strings.HasPrefix(k.join("/", `{"apikey":"`+key+`"}`), "40") {
			t.Errorf("%s, by websocket: not joined", c.why)
		}
	}
}

// told returns the lines of a log about clients that were refused.
func told(log *bytes.Buffer) (lines []map[string]string) {
	for line := range strings.Lines(log.String()) {
		var l map[string]string
		if json.Unmarshal([]byte(line), &l) == nil && l["message"] == "client refused" {
			lines = append(lines, l)
		}
	}
	return lines
}

func TestARefusedClientIsALineAtInfoThatSaysWhatToDo(t *testing.T) {
	for _, c := range []struct {
		why, query, namespace, auth, help string
		configure                         func(*websocket.Config)
		header                            http.Header
	}{
		{"no key", "", "/", "", "connect with auth {apikey", noHosts, nil},
		{"no key, another host", "", "/", "", `"rebind.evil", which is neither loopback`, func(c *websocket.Config) { c.LocalKeyless = true }, headers("Host", "rebind.evil")},
		{"no key, proxy", "", "/", "", "WEBSOCKET_TRUSTED_PROXIES", func(c *websocket.Config) { c.LocalKeyless = true }, headers("Via", "1.1 x")},
		{"wrong key", "", "/", `{"apikey":"wrong-key"}`, "POST /instance/token/{instance}", noHosts, nil},
		{"wrong key at the handshake", "&apikey=wrong-key", "", "", "POST /instance/token/{instance}", noHosts, nil},
		{"unknown instance", "&apikey=" + key, "/ghost", "", "names are case-sensitive", noHosts, nil},
		{"a name that no instance has", "&apikey=" + key, "/a?b", "", "names are case-sensitive", noHosts, nil},
		{"too large auth", "&apikey=" + key, "/", `{"since":"` + strings.Repeat("x", 20_000) + `"}`, "", noHosts, nil},
		{"origin", "&apikey=" + key, "", "", "CORS_ORIGIN", func(c *websocket.Config) { c.Origins = []string{"https://a.example"} }, headers("Origin", "https://evil.example")},
		{"version 2", "&EIO=3&apikey=" + key, "", "", "WEBSOCKET_ALLOW_EIO3=true", noHosts, nil},
	} {
		var log bytes.Buffer
		h := buildLogging(t, c.configure, zerolog.New(zerolog.SyncWriter(&log)).Level(zerolog.InfoLevel))
		times := 100
		if strings.HasPrefix(c.why, "wrong") {
			times = 5 // further ones would be kept waiting
		}
		for range times {
			k, err := dial(t, h.server, c.query, c.header)
			if (err != nil) != (c.namespace == "") {
				t.Fatal(c.why, err)
			}
			if k == nil {
				continue
			}
			// What is too large for a client that has joined nothing has no answer: its connection ends.
			if answer := k.join(c.namespace, c.auth); !strings.HasPrefix(answer, "44") && (answer != "" || c.why != "too large auth") {
				t.Fatalf("%s: %s", c.why, answer)
			}
			k.conn.Close()
		}
		lines := told(&log)
		if len(lines) == 0 || len(lines) > 5 {
			t.Fatalf("%s: %d lines", c.why, len(lines))
		}
		if l := lines[0]; l["level"] != "info" || !strings.Contains(l["help"], c.help) || l["remote"] == "" || l["error"] == "" {
			t.Errorf("%s: %s", c.why, l)
		}
		if strings.Contains(log.String(), "wrong-key") || strings.Contains(log.String(), key) {
			t.Errorf("%s: the log shows a key", c.why)
		}
	}
}

func TestAVersion2ClientThatIsRefusedIsALineToo(t *testing.T) {
	var log bytes.Buffer
	h := buildLogging(t, func(c *websocket.Config) { c.EIO3 = true }, zerolog.New(zerolog.SyncWriter(&log)).Level(zerolog.InfoLevel))
	k, err := dial(t, h.server, "&EIO=3", nil) // joins / by itself
	if err != nil {
		t.Fatal(err)
	}
	if answer := k.frame(); answer != `44"apiKey is required"` {
		t.Errorf("answered %s", answer)
	}
	if lines := told(&log); len(lines) != 1 || lines[0]["level"] != "info" || lines[0]["namespace"] != "/" || lines[0]["help"] == "" {
		t.Errorf("%s", log.String())
	}
}

func TestWrongKeysAreSlowedAndRightOnesOfTheSameAddressAreNot(t *testing.T) {
	h := build(t, noHosts)
	h.create("sales", "sales-token")
	h.set("sales", `{"enabled":true}`)
	const invalid, many = `{"message":"Invalid global token"}`, "too many wrong keys"
	c := h.dial("")
	for i := range 10 {
		if answer := c.join("/sales", `{"apikey":"wrong"}`); !strings.Contains(answer, invalid) {
			t.Fatalf("wrong key %d: %s", i, answer)
		}
	}
	for range 20 {
		if answer := c.join("/sales", `{"apikey":"sales-token"}`); !strings.Contains(answer, many) {
			t.Fatalf("a connection with ten wrong keys: %s", answer)
		}
	}
	// The address is answered at once again as time passes, but not for long.
	sinktest.Eventually(t, "another connection of the address has presented too many", func() bool {
		return strings.Contains(h.dial("").join("/sales", `{"apikey":"wrong"}`), many)
	})
	sinktest.Eventually(t, "a handshake of the address has presented too many", func() bool {
		_, err := dial(t, h.server, "&apikey=wrong", nil)
		if err == nil {
			t.Fatal("a wrong key at the handshake was taken")
		}
		body, _ := io.ReadAll(err.(refused).answer.Body)
		return strings.Contains(string(body), many)
	})
	for range 50 {
		k := h.dial("")
		if answer := k.join("/sales", `{"apikey":"sales-token"}`); !strings.HasPrefix(answer, "40") {
			t.Fatalf("a right key of the same address: %s", answer)
		}
		k.conn.Close()
	}
}

func TestAnInstancesTokenJoinsAnEmptyRoot(t *testing.T) {
	h := build(t, global)
	for _, name := range []string{"sales", "other"} {
		h.create(name, name+"-token")
		h.set(name, `{"enabled":true}`)
	}
	operator, tenant := h.dial("&apikey="+key), h.dial("&apikey=sales-token")
	first := operator.join("/", "")
	if answer := tenant.join("/", ""); !strings.HasPrefix(answer, `40{"sid":"`) || strings.Contains(answer, `"pid"`) {
		t.Fatalf("the token on /: %s", answer)
	}
	seen := h.emit("sales", "call", `1`)
	operator.await(1)
	again := h.dial("&apikey=sales-token")
	again.join("/", `{"since":"`+seen+`"}`)
	thief := h.dial("&apikey=sales-token") // with what the operator's client comes back by
	h.emit("sales", "call", `2`)
	operator.await(2)
	ticket := operator.ticket(first, "")
	operator.conn.Close()
	h.until("left", func() bool { return h.measure("left_total") >= 1 })
	watchers := map[string]*client{"/": h.dial("&apikey=" + key), "/sales": h.dial("&apikey=" + key)}
	for namespace, watcher := range watchers {
		watcher.join(namespace, "")
	}
	h.emit("sales", "call", `3`)
	for _, watcher := range watchers {
		watcher.await(1) // it has gone by before the tenant joins /sales
		watcher.conn.Close()
	}
	thief.join("/", ticket)
	for i := range 20 {
		h.emit("other", "messages.upsert", `4`)
		h.emit("sales", "messages.upsert", `5`)
		if i == 10 {
			tenant.emit(`40/sales,`)
			tenant.frame()
		}
	}
	tenant.await(9)
	for name, k := range map[string]*client{"tenant": tenant, "with since": again, "with a ticket": thief} {
		k.emit(`427["send.message",{"instance":"sales"}]`)
		if got := k.frame(); !strings.Contains(got, `"code":"unavailable"`) { // commands are not configured; see below
			t.Errorf("%s: %s", name, got)
		}
		for _, e := range k.await(len(k.ids())) {
			if name != "tenant" || string(e.data["instance"]) != `"sales"` || string(e.data["data"]) != "5" {
				t.Errorf("%s got %s %s on /", name, e.name, e.data)
			}
		}
	}
	// All that is left on / are tokens' sockets: nothing is encoded for them, and a new token ends them.
	h.registry.SetToken(h.t.Context(), "sales", "new")
	for name, k := range map[string]*client{"with since": again, "with a ticket": thief} {
		if got := k.frame(); got != "41" {
			t.Errorf("%s, after a new token: %s", name, got)
		}
	}
}

func TestATokensCommandsOnTheRootAreForbidden(t *testing.T) {
	h, c := commanding(t, "&apikey=token-of-a", "/", global)
	h.hub.Handle("send.message", echo)
	c.emit(`427["send.message",{"instance":"a"}]`)
	if got := c.frame(); !strings.HasPrefix(got, `437[{"ok":false,"error":{"code":"forbidden"`) || !strings.Contains(got, "in the namespace of the instance") {
		t.Errorf("%s", got)
	}
}

func TestAnInstanceThatIsAdoptedShutsOutNobodyButListeners(t *testing.T) {
	h := build(t, global)
	h.emit("sales", "call", `1`) // makes the instance
	operator := h.dial("&apikey=" + key)
	operator.join("/", "")
	settings := map[string]instances.Settings{websocket.Name: {ID: "1", Value: json.RawMessage(`{"enabled":true}`)}}
	if _, err := h.registry.Adopt(t.Context(), instances.Instance{Name: "sales", Settings: settings}, "sales-token"); err != nil {
		t.Fatal(err)
	}
	owner := h.dial("&apikey=sales-token")
	if answer := owner.join("/sales", ""); !strings.HasPrefix(answer, "40") {
		t.Fatal(answer)
	}
	h.emit("sales", "call", `2`)
	owner.await(1)
	operator.await(1)
}
