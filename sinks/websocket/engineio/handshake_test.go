package engineio_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

func refused(code int) string {
	messages := []string{"Transport unknown", "Session ID unknown", "Bad handshake method", "Bad request", "", "Unsupported protocol version"}
	return `{"code":` + string(rune('0'+code)) + `,"message":"` + messages[code] + `"}`
}

// CVE-2023-31125: a transport called like a property that every object has.
func TestRequestsAreRefusedForTheFirstFaultInTheReferencesOrder(t *testing.T) {
	s := open(t, nil)
	p, _ := s.poll(t)
	tests := []struct {
		name, method, query string
		code                int
	}{
		{"no transport", "GET", "EIO=4", 0},
		{"unknown transport", "GET", "EIO=4&transport=webtransport", 0},
		{"a property of objects", "GET", "EIO=4&transport=constructor", 0},
		{"their prototype", "GET", "EIO=4&transport=__proto__", 0},
		{"a method of objects", "GET", "EIO=4&transport=toString", 0},
		{"transport before version", "GET", "EIO=3&transport=x", 0},
		{"no version", "GET", "transport=polling", 5},
		{"empty version", "GET", "EIO=&transport=polling", 5},
		{"version 3", "GET", "EIO=3&transport=polling", 5},
		{"version 5", "GET", "EIO=5&transport=polling", 5},
		{"version 4.0", "GET", "EIO=4.0&transport=polling", 5},
		{"version abc", "GET", "EIO=abc&transport=polling", 5},
		{"unknown sid", "GET", pollingQuery + "&sid=x", 1},
		{"a sid that cannot be unescaped", "GET", pollingQuery + "&sid=%zz", 1},
		{"unknown sid in a post", "POST", pollingQuery + "&sid=x", 1},
		{"sid before version", "GET", "EIO=3&transport=polling&sid=x", 1},
		{"the last of several transports", "GET", pollingQuery + "&transport=x", 0},
		{"the last of several sids", "GET", pollingQuery + "&sid=&sid=x", 1},
		{"handshake by POST", "POST", pollingQuery, 2},
		{"handshake by PUT", "PUT", pollingQuery, 2},
		{"handshake by DELETE", "DELETE", pollingQuery, 2},
		{"handshake by OPTIONS without CORS", "OPTIONS", pollingQuery, 2},
		{"method before version", "POST", "EIO=3&transport=polling", 2},
		{"websocket by plain GET", "GET", "EIO=4&transport=websocket", 3},
		{"another transport than the session's", "GET", "EIO=4&transport=websocket&sid=" + p.sid, 3},
		{"another version than the session's", "GET", "EIO=3&transport=polling&sid=" + p.sid, 3},
		{"PUT to a session", "PUT", p.query, 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := s.ask(t, test.method, test.query, "")
			a.want(t, http.StatusBadRequest, refused(test.code))
			if got := a.header.Get("Content-Type"); got != "application/json" {
				t.Errorf("Content-Type is %q", got)
			}
		})
	}
	if s.Sessions() != 1 {
		t.Errorf("%d sessions, want the one", s.Sessions())
	}
}

func TestWebSocketHandshakesAreRefusedBeforeTheyAreAnswered(t *testing.T) {
	s := open(t, func(c *engineio.Config) {
		c.AllowRequest = func(r *http.Request) error {
			if r.URL.Query().Has("reject") {
				return errors.New("not you")
			}
			return nil
		}
	})
	tests := []struct {
		name, query, body string
		headers           []string
	}{
		{"unknown transport", "EIO=4&transport=__proto__", "Transport unknown", nil},
		{"unknown sid", "EIO=4&transport=websocket&sid=x", "Session ID unknown", nil},
		{"another version", "EIO=3&transport=websocket", "Unsupported protocol version", nil},
		{"no version", "transport=websocket", "Unsupported protocol version", nil},
		{"transport polling", "EIO=4&transport=polling", "Bad request", nil},
		{"not allowed", "EIO=4&transport=websocket&reject=1", "not you", nil},
		{"short key", "EIO=4&transport=websocket", "Bad request", []string{"Sec-WebSocket-Key", "abc"}},
		{"no key", "EIO=4&transport=websocket", "Bad request", []string{"Sec-WebSocket-Key", ""}},
		{"versions 13 and 8", "EIO=4&transport=websocket", "Bad request", []string{"Sec-WebSocket-Version", "13, 8"}},
		{"version 12", "EIO=4&transport=websocket", "Bad request", []string{"Sec-WebSocket-Version", "12"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, response := s.handshake(t, test.query, test.headers...)
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != http.StatusBadRequest || string(body) != test.body {
				t.Errorf("answer is %s %q, want 400 %q", response.Status, body, test.body)
			}
			if got := response.Header.Get("Content-Type"); got != "text/html" {
				t.Errorf("Content-Type is %q", got)
			}
			p.wantClosed(t)
		})
	}
	if s.Sessions() != 0 {
		t.Errorf("%d sessions, want none", s.Sessions())
	}
}

type openPacket struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int      `json:"pingInterval"`
	PingTimeout  int      `json:"pingTimeout"`
	MaxPayload   int      `json:"maxPayload"`
}

func decodeOpen(t *testing.T, packet string) openPacket {
	t.Helper()
	var open openPacket
	decoder := json.NewDecoder(strings.NewReader(strings.TrimPrefix(packet, "0")))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&open); err != nil {
		t.Fatal(err)
	}
	return open
}

func TestThePollingHandshakeIsTheOpenPacket(t *testing.T) {
	s := open(t, nil)
	a := s.ask(t, "GET", "EIO=3&sid=x&transport=foo&"+pollingQuery+"&t=abc&other=1&sid=", "")
	app := s.session(t)
	got := decodeOpen(t, a.body)
	if want := (openPacket{app.ID(), []string{"websocket"}, 25000, 20000, 1000000}); got.SID != want.SID ||
		!slices.Equal(got.Upgrades, want.Upgrades) || got.PingInterval != want.PingInterval ||
		got.PingTimeout != want.PingTimeout || got.MaxPayload != want.MaxPayload {
		t.Errorf("open packet is %+v, want %+v", got, want)
	}
	if ct, cc := a.header.Get("Content-Type"), a.header.Get("Cache-Control"); ct != "text/plain; charset=UTF-8" || cc != "no-store" {
		t.Errorf("Content-Type %q, Cache-Control %q", ct, cc)
	}
	if app.Protocol() != 4 || app.Transport() != engineio.Polling || app.RemoteAddr() != app.request.RemoteAddr {
		t.Errorf("session is of revision %d on %v from %s", app.Protocol(), app.Transport(), app.RemoteAddr())
	}
}

func TestTheWebSocketHandshakeIsTheOpenPacketWithoutUpgrades(t *testing.T) {
	s := open(t, nil)
	p := s.dial(t, "EIO=4&transport=websocket")
	f := p.read(t)
	if got := decodeOpen(t, f.data); f.opcode != opText || len(got.Upgrades) != 0 || got.Upgrades == nil {
		t.Errorf("open packet is %+v", got)
	}
	if app := s.session(t); app.Transport() != engineio.WebSocket {
		t.Errorf("transport is %v", app.Transport())
	}
}

// CVE-2017-16031: ids that could be guessed.
func TestSessionIDsAreLongURLSafeAndUnique(t *testing.T) {
	s := open(t, nil)
	seen := map[string]bool{}
	for range 50 {
		p, _ := s.poll(t)
		if !regexp.MustCompile(`^[A-Za-z0-9_-]{16,}$`).MatchString(p.sid) || seen[p.sid] {
			t.Fatalf("sid %q", p.sid)
		}
		seen[p.sid] = true
	}
}

func TestASessionBelongsToItsServer(t *testing.T) {
	one, other := open(t, nil), open(t, nil)
	p, _ := one.poll(t)
	other.ask(t, "GET", p.query, "").want(t, 400, refused(1))
}

func TestNoUpgradeIsOfferedWhereNoneIsPossible(t *testing.T) {
	for name, change := range map[string]func(*engineio.Config){
		"upgrades are off":    func(c *engineio.Config) { c.AllowUpgrades = false },
		"websocket is not on": func(c *engineio.Config) { c.Transports = []engineio.Transport{engineio.Polling} },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, change)
			a := s.ask(t, "GET", pollingQuery, "")
			got := decodeOpen(t, a.body)
			if len(got.Upgrades) != 0 {
				t.Errorf("upgrades are %v", got.Upgrades)
			}
			_, response := s.handshake(t, "EIO=4&transport=websocket&sid="+got.SID)
			if response.StatusCode != http.StatusBadRequest {
				t.Errorf("the upgrade is answered with %s", response.Status)
			}
		})
	}
}

func TestWhatAcceptSendsFollowsTheOpenPacket(t *testing.T) {
	s := open(t, func(c *engineio.Config) {
		accept := c.Accept
		c.Accept = func(s *engineio.Session, r *http.Request) engineio.Handler {
			s.Send(text("early"), blob("bird"))
			return accept(s, r)
		}
	})
	packets := strings.Split(s.ask(t, "GET", pollingQuery, "").body, "\x1e")
	if len(packets) != 3 || packets[0][0] != '0' || packets[1] != "4early" || packets[2] != "bYmlyZA==" {
		t.Errorf("polling packets are %q", packets)
	}
	p, _ := s.connect(t)
	p.wantText(t, "4early")
	if f := p.read(t); f.opcode != opBinary || f.data != "bird" {
		t.Errorf("frame is %+v", f)
	}
}

func TestAnApplicationThatReturnsNoHandlerEndsTheSession(t *testing.T) {
	s := open(t, func(c *engineio.Config) {
		c.Accept = func(*engineio.Session, *http.Request) engineio.Handler { return nil }
	})
	if a := s.ask(t, "GET", pollingQuery, ""); !strings.HasSuffix(a.body, "\x1e1") {
		t.Errorf("answer is %q", a.body)
	}
	p := s.dial(t, "EIO=4&transport=websocket")
	p.wantClosed(t)
	if s.Sessions() != 0 {
		t.Errorf("%d sessions", s.Sessions())
	}
}

func TestAnApplicationThatPanicsLosesTheSessionOnly(t *testing.T) {
	s := open(t, func(c *engineio.Config) {
		c.Accept = func(*engineio.Session, *http.Request) engineio.Handler { panic(http.ErrAbortHandler) }
	})
	p := s.dial(t, "EIO=4&transport=websocket")
	p.wantClosed(t)
	if s.Sessions() != 0 {
		t.Errorf("%d sessions", s.Sessions())
	}
}

func TestTheCookieComesWithThePollingHandshakeOnly(t *testing.T) {
	s := open(t, func(c *engineio.Config) {
		c.Cookie = &http.Cookie{Name: "io", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	})
	a := s.ask(t, "GET", pollingQuery, "")
	app := s.session(t)
	if got, want := a.header.Get("Set-Cookie"), "io="+app.ID()+"; Path=/; HttpOnly; SameSite=Lax"; got != want {
		t.Errorf("cookie is %q, want %q", got, want)
	}
	app.Send(text("x"))
	if got := s.ask(t, "GET", pollingQuery+"&sid="+app.ID(), "").header.Get("Set-Cookie"); got != "" {
		t.Errorf("a later poll sets %q", got)
	}
	if _, response := s.handshake(t, "EIO=4&transport=websocket"); response.Header.Get("Set-Cookie") != "" {
		t.Error("the websocket handshake sets a cookie")
	}
}

func TestAllowRequestIsAskedForHandshakesOnly(t *testing.T) {
	asked := 0
	s := open(t, func(c *engineio.Config) {
		c.AllowRequest = func(r *http.Request) error {
			asked++
			if r.URL.Query().Has("reject") {
				return errors.New(`no <"you">`)
			}
			return nil
		}
	})
	s.ask(t, "GET", pollingQuery+"&reject=1", "").want(t, 403, `{"code":4,"message":"no <\"you\">"}`)
	p, app := s.poll(t)
	p.post(t, "4a")
	app.Send(text("b"))
	p.get(t).want(t, 200, "4b")
	if asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
}

func TestCORSHeadersFollowTheOrigin(t *testing.T) {
	s := open(t, func(c *engineio.Config) {
		c.CORS = &engineio.CORS{Origins: []string{"http://a.example", "http://b.example"}, Credentials: true}
	})
	for _, query := range []string{pollingQuery, "EIO=4&transport=x"} { // errors too
		h := s.ask(t, "GET", query, "", "Origin", "http://b.example").header
		if h.Get("Access-Control-Allow-Origin") != "http://b.example" || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Vary") != "Origin" {
			t.Errorf("headers for %s are %v", query, h)
		}
	}
	a := s.ask(t, "GET", pollingQuery, "", "Origin", "http://c.example")
	if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin is answered with %d %v", a.status, a.header)
	}
	_, response := s.handshake(t, "EIO=4&transport=websocket", "Origin", "http://a.example")
	if got := response.Header["Access-Control-Allow-Origin"]; response.StatusCode != http.StatusSwitchingProtocols || !slices.Equal(got, []string{"http://a.example"}) {
		t.Errorf("the websocket handshake is answered with %s and %q", response.Status, got)
	}
}

func TestCORSPreflightIsAnswered(t *testing.T) {
	s := open(t, func(c *engineio.Config) { c.CORS = &engineio.CORS{Origins: []string{"*"}} })
	a := s.ask(t, "OPTIONS", pollingQuery, "", "Origin", "http://a.example",
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "x-one, x-two")
	a.want(t, http.StatusNoContent, "")
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":  "*",
		"Access-Control-Allow-Methods": "GET,HEAD,PUT,PATCH,POST,DELETE",
		"Access-Control-Allow-Headers": "x-one, x-two",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestARefusedUpgradeHasCORSHeaders(t *testing.T) {
	s := open(t, func(c *engineio.Config) { c.CORS = &engineio.CORS{Origins: []string{"http://a.example"}} })
	_, response := s.handshake(t, "EIO=4&transport=websocket&sid=x", "Origin", "http://a.example")
	if got := response.Header.Get("Access-Control-Allow-Origin"); response.StatusCode != 400 || got != "http://a.example" {
		t.Errorf("answered with %s and origin %q", response.Status, got)
	}
}

// CVE-2020-28481: all origins were allowed by default.
func TestWithoutCORSThereAreNoCORSHeaders(t *testing.T) {
	s := open(t, nil)
	for name := range s.ask(t, "GET", pollingQuery, "", "Origin", "http://a.example").header {
		if strings.HasPrefix(name, "Access-Control") {
			t.Errorf("there is a header %s", name)
		}
	}
}

// CVE-2024-37890 (very many), CVE-2021-32640 (Sec-WebSocket-Protocol) and
// GHSA-5v72-xg48-5rpm (Sec-WebSocket-Extensions).
func TestOddHeadersHurtNobody(t *testing.T) {
	s := open(t, echoing)
	many := []string{"Sec-WebSocket-Protocol", strings.Repeat("a ", 20_000), "Sec-WebSocket-Extensions", strings.Repeat(`x;y="\`, 5_000), "Cookie", strings.Repeat("=", 10_000)}
	for i := range 3000 {
		many = append(many, fmt.Sprint("X-", i), "y")
	}
	_, response := s.handshake(t, "EIO=4&transport=websocket", many...)
	if response.StatusCode != http.StatusSwitchingProtocols && response.StatusCode != http.StatusBadRequest {
		t.Errorf("answered with %s", response.Status)
	}
	p, _ := s.connect(t)
	p.text(t, "4still here")
	p.wantText(t, "4still here")
}

func TestConfigValidateNamesEveryBadSetting(t *testing.T) {
	err := engineio.Config{
		Transports: []engineio.Transport{7}, HTTPCompression: -1, PerMessageDeflate: -1,
		CORS: &engineio.CORS{}, Cookie: &http.Cookie{},
	}.Validate()
	for _, name := range []string{"PingInterval", "PingTimeout", "UpgradeTimeout", "MaxPayload", "MaxQueueBytes",
		"HTTPCompression", "PerMessageDeflate", "Transports", "CORS.Origins", "Cookie", "Accept"} {
		if err == nil || !strings.Contains(err.Error(), name+" ") {
			t.Errorf("%s is not named in: %v", name, err)
		}
	}
	config := engineio.DefaultConfig()
	if _, err := engineio.New(config); err == nil {
		t.Error("New takes a config without Accept")
	}
	config.Accept = func(*engineio.Session, *http.Request) engineio.Handler { return nil }
	config.PingInterval = time.Second
	if _, err := engineio.New(config); err != nil {
		t.Error(err)
	}
}
