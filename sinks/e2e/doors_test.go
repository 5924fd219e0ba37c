package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// program finds a program of the system, and skips a test without it, unless the environment says that it must be there.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(path); err == nil {
			return found
		}
	}
	if os.Getenv("EVOSINK_REQUIRE_SERVICES") != "" {
		t.Fatalf("%s is missing", name)
	}
	t.Skipf("%s is missing: Debian's package of that name has it", name)
	return ""
}

// between runs a program that listens on an address until the test ends.
func between(t *testing.T, address string, cmd *exec.Cmd) {
	t.Helper()
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
	}()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // its workers too
		<-ended
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s has ended:\n%s", cmd.Path, output.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen on %s", cmd.Path, address)
		}
	}
}

// A proxy is a way to evosink that comes from loopback.
type proxy struct {
	name   string
	launch func(t *testing.T, from, to string)
}

func nginx(extra string) func(t *testing.T, from, to string) {
	return func(t *testing.T, from, to string) {
		dir := t.TempDir()
		file := filepath.Join(dir, "nginx.conf")
		config := `daemon off; pid DIR/pid; error_log stderr; events {}
			http {
				access_log off; client_body_temp_path DIR/a; proxy_temp_path DIR/b; fastcgi_temp_path DIR/c; uwsgi_temp_path DIR/d; scgi_temp_path DIR/e;
				map $http_upgrade $connection_upgrade { default upgrade; '' close; }
				server {
					listen FROM;
					location / {
						proxy_pass http://TO;
						proxy_http_version 1.1;
						proxy_set_header Upgrade $http_upgrade;
						proxy_set_header Connection $connection_upgrade;
						EXTRA
					}
				}
			}`
		config = strings.NewReplacer("DIR", dir, "FROM", from, "TO", to, "EXTRA", extra).Replace(config)
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		between(t, from, exec.Command(program(t, "nginx"), "-e", "stderr", "-c", file))
	}
}

func haproxy(mode, extra string) func(t *testing.T, from, to string) {
	return func(t *testing.T, from, to string) {
		file := filepath.Join(t.TempDir(), "haproxy.cfg")
		config := fmt.Sprintf("defaults\n mode %s\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n%s\nlisten evosink\n bind %s\n server one %s\n", mode, extra, from, to)
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		between(t, from, exec.Command(program(t, "haproxy"), "-db", "-f", file))
	}
}

func socat(t *testing.T, from, to string) {
	host, port, _ := net.SplitHostPort(from)
	between(t, from, exec.Command(program(t, "socat"), "TCP-LISTEN:"+port+",bind="+host+",fork,reuseaddr", "TCP:"+to))
}

// joins opens a websocket at an address and returns the answer to a CONNECT to /.
func joins(t *testing.T, address, auth string) string {
	t.Helper()
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+address+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.WriteMessage(websocket.TextMessage, []byte("40"+auth))
	l := &listener{t, conn}
	l.frame(20 * time.Second) // open
	return l.frame(20 * time.Second)
}

// polls is joins by polling.
func polls(t *testing.T, address, auth string) string {
	t.Helper()
	do := func(method, query, body string) string {
		r, err := http.NewRequest(method, "http://"+address+"/socket.io/?EIO=4&transport=polling"+query, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
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
	do("POST", "&sid="+session.SID, "40"+auth)
	return do("GET", "&sid="+session.SID, "")
}

func TestNobodyJoinsThroughAProxyOrTunnelWithoutAKey(t *testing.T) {
	const forwarded = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Host $host;"
	trusting := []string{"WEBSOCKET_ALLOWED_HOSTS=127.0.0.1,::1,::ffff:127.0.0.1", "SERVER_TRUSTED_PROXIES=127.0.0.1"}
	for _, c := range []struct {
		proxy
		env []string
	}{
		{proxy{"nginx, as its documentation has it", nginx("")}, nil},
		{proxy{"nginx that names its client, and is trusted", nginx(forwarded)}, trusting},
		{proxy{"nginx that names no client, and is trusted", nginx("")}, trusting},
		{proxy{"nginx that names its client, and is not trusted", nginx(forwarded)}, trusting[:1]},
		{proxy{"HAProxy, http", haproxy("http", "")}, nil},
		{proxy{"HAProxy, tcp", haproxy("tcp", "")}, nil},
		{proxy{"HAProxy, http, that names its client", haproxy("http", " option forwardfor")}, trusting},
		{proxy{"socat", socat}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := launch(t, t.TempDir(), append(c.env, "WEBSOCKET_ENABLED=true", "WEBSOCKET_GLOBAL_EVENTS=true")...)
			from := freeAddress(t)
			c.launch(t, from, strings.TrimPrefix(p.url, "http://"))
			for transport, join := range map[string]func(*testing.T, string, string) string{"websocket": joins, "polling": polls} {
				if answer := join(t, from, ""); answer != `44{"message":"apiKey is required"}` {
					t.Errorf("without a key, by %s: %s", transport, answer)
				}
				if answer := join(t, from, `{"apikey":"`+key+`"}`); !strings.HasPrefix(answer, `40{"sid"`) {
					t.Errorf("with the key, by %s: %s", transport, answer)
				}
			}
			if !strings.Contains(p.output(), `"message":"client refused"`) {
				t.Error("the log does not tell of a client that was refused")
			}
		})
	}
}

// local is evosink as a newcomer starts it: without a key, on loopback.
func local(t *testing.T, env ...string) *process {
	t.Helper()
	return launch(t, t.TempDir(), append([]string{"AUTHENTICATION_API_KEY=", "SERVER_HOST=", "WEBSOCKET_ENABLED=true", "WEBSOCKET_GLOBAL_EVENTS=true"}, env...)...)
}

func TestLocalClientsNeedNoKeyWhileThereIsNone(t *testing.T) {
	for _, c := range []struct {
		why  string
		p    *process
		want string
	}{
		{"no key", local(t), "40"},
		{"no key, and none", local(t, "WEBSOCKET_ALLOWED_HOSTS=none"), "44"},
		{"no key, but every address is listened on", local(t, "SERVER_HOST=0.0.0.0"), "44"},
		{"a key", launch(t, t.TempDir(), "WEBSOCKET_ENABLED=true"), "44"},
		{"a key, and Evolution API's list", launch(t, t.TempDir(), "WEBSOCKET_ENABLED=true", "WEBSOCKET_ALLOWED_HOSTS=127.0.0.1,::1,::ffff:127.0.0.1"), "40"},
		{"a key, and *", launch(t, t.TempDir(), "WEBSOCKET_ENABLED=true", "WEBSOCKET_ALLOWED_HOSTS=*"), "40"},
	} {
		_, port, _ := net.SplitHostPort(strings.TrimPrefix(c.p.url, "http://"))
		address := net.JoinHostPort("127.0.0.1", port)
		for transport, join := range map[string]func(*testing.T, string, string) string{"websocket": joins, "polling": polls} {
			if answer := join(t, address, ""); !strings.HasPrefix(answer, c.want) {
				t.Errorf("%s, by %s: %s", c.why, transport, answer)
			}
		}
		warned := strings.Contains(c.p.output(), "clients at WEBSOCKET_ALLOWED_HOSTS need no key")
		if want := strings.Contains(c.why, ", and ") && c.want == "40"; warned != want {
			t.Errorf("%s: warned %v, want %v", c.why, warned, want)
		}
		told := strings.Contains(c.p.output(), "clients on this machine need no key")
		if want := c.why == "no key"; told != want {
			t.Errorf("%s: told %v, want %v", c.why, told, want)
		}
	}
}

// A visit is a connection from a page in the browser.
type visit struct {
	Page    string         `json:"page"`
	Library string         `json:"library"` // file of the client
	Address string         `json:"address"`
	Options map[string]any `json:"options"`
}

// An outcome is what became of it.
type outcome struct {
	Connected bool
	Error     string
}

// fromPages connects from pages, one after the other, with names resolved by rules.
func fromPages(t *testing.T, rules string, visits []visit) []outcome {
	t.Helper()
	all, err := json.Marshal(visits)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "clients/page.mjs", rules, string(all))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var outcomes []outcome
	if err == nil {
		err = json.Unmarshal(out, &outcomes)
	}
	if err != nil || len(outcomes) != len(visits) {
		t.Fatalf("%v\n%s%s", err, out, stderr.String())
	}
	return outcomes
}

// The clients' files for pages.
const (
	newest  = "node_modules/socket.io-client/dist/socket.io.min.js"
	clients = "../websocket/socketio/clienttest/node_modules"
	oldest  = clients + "/client-2.5/dist/socket.io.js"
)

func TestPagesInALocalBrowserAreNotLocalClients(t *testing.T) {
	needs(t, newest, "/usr/bin/chromium")
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<p>")
	}))
	defer site.Close()
	p := local(t)
	_, sitePort, _ := net.SplitHostPort(site.Listener.Addr().String())
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(p.url, "http://"))
	const rules = "MAP evil.example 127.0.0.1, MAP rebind.evil 127.0.0.1"
	localhost, rebound := "http://localhost:"+port, "http://rebind.evil:"+port
	var visits []visit
	for _, transport := range []string{"websocket", "polling"} {
		options := map[string]any{"transports": []string{transport}}
		visits = append(visits,
			visit{"http://evil.example:" + sitePort, newest, "http://127.0.0.1:" + port, options},
			visit{rebound, newest, rebound, options}, // a name that was made to point here
			visit{"http://localhost:" + sitePort, newest, localhost, options},
		)
	}
	for i, got := range fromPages(t, rules, visits) {
		want := outcome{Error: "apiKey is required"}
		if visits[i].Address == localhost {
			want = outcome{Connected: true}
		}
		if got != want {
			t.Errorf("%+v: %+v, want %+v", visits[i], got, want)
		}
	}
}

func TestPagesOfOriginsThatAreNotAllowedAreRefusedAndThoseThatAreMayHaveCredentials(t *testing.T) {
	needs(t, newest, oldest, "/usr/bin/chromium")
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<p>")
	}))
	defer site.Close()
	_, sitePort, _ := net.SplitHostPort(site.Listener.Addr().String())
	app, evil := "http://app.example:"+sitePort, "http://evil.example:"+sitePort
	const rules = "MAP app.example 127.0.0.1, MAP evil.example 127.0.0.1"
	env := []string{"WEBSOCKET_ENABLED=true", "WEBSOCKET_GLOBAL_EVENTS=true", "WEBSOCKET_ALLOW_EIO3=true", "CORS_ORIGIN=" + app, "CORS_CREDENTIALS=true"}
	strict, open := launch(t, t.TempDir(), env...), launch(t, t.TempDir(), append(env, "WEBSOCKET_CHECK_ORIGIN=false")...)
	cases := []struct {
		why, page, library, transport string
		p                             *process
		ok                            bool
	}{
		{"version 2 by polling, which always sends credentials", app, oldest, "polling", strict, true},
		{"version 2 by websocket", app, oldest, "websocket", strict, true},
		{"version 4 by polling with credentials", app, newest, "polling", strict, true},
		{"version 4 by websocket", app, newest, "websocket", strict, true},
		{"another origin by polling", evil, newest, "polling", strict, false},
		{"another origin by websocket, with the key", evil, newest, "websocket", strict, false},
		{"another origin by websocket, version 2", evil, oldest, "websocket", strict, false},
		{"another origin by websocket, not checked", evil, newest, "websocket", open, true},
	}
	var visits []visit
	for _, c := range cases {
		visits = append(visits, visit{c.page, c.library, c.p.url, map[string]any{
			"transports": []string{c.transport}, "withCredentials": true, "query": map[string]string{"apikey": key},
		}})
	}
	for i, got := range fromPages(t, rules, visits) {
		if got.Connected != cases[i].ok {
			t.Errorf("%s: %+v", cases[i].why, got)
		}
	}
	if !strings.Contains(strict.output(), "to CORS_ORIGIN") {
		t.Error("the log does not say what to do about the origin")
	}
	cmd := command(t, t.TempDir())
	cmd.Env = append(cmd.Env, "CORS_ORIGIN=*", "CORS_CREDENTIALS=true")
	refuses(t, cmd, "cors", "CORS_CREDENTIALS", "CORS_ORIGIN")
}

func TestATokensClientsThatJoinTheRootFirst(t *testing.T) {
	needs(t, clients+"/client-2.5", clients+"/client-4.8")
	p := launch(t, t.TempDir(), "WEBSOCKET_ENABLED=true", "WEBSOCKET_GLOBAL_EVENTS=true", "WEBSOCKET_ALLOW_EIO3=true")
	p.must(201, "POST", "/instance/create", `{"instanceName":"sales","token":"sales-token-0123456789","websocket":{"enabled":true,"events":["MESSAGES_UPSERT"]}}`)
	folder, err := filepath.Abs(clients)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"client-2.5", "client-4.8"} {
		t.Run(version, func(t *testing.T) {
			l := start(t, "node", "clients/token.cjs", filepath.Join(folder, version), p.url, "/sales", "sales-token-0123456789")
			seen := map[string]bool{}
			for !seen["connect"] || !seen["root connect"] {
				seen[l.line()] = true
			}
			p.must(201, "POST", "/events/sales", `{"event":"call","data":1}`)
			p.must(201, "POST", "/events/other", `{"event":"messages.upsert","data":2}`)
			p.must(201, "POST", "/events/sales", `{"event":"messages.upsert","data":3}`)
			if line := l.line(); line != "event 3" {
				t.Errorf("the client said %q", line)
			}
		})
	}
	t.Run("elephant.io", func(t *testing.T) { // which sends its auth to / and waits for the answer before anything else
		conn, _, err := websocket.DefaultDialer.Dial(p.ws("/socket.io/?EIO=4&transport=websocket"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		l := &listener{t, conn}
		l.frame(20 * time.Second)
		for _, namespace := range []string{"", "/sales,"} {
			conn.WriteMessage(websocket.TextMessage, []byte("40"+namespace+`{"apikey":"sales-token-0123456789"}`))
			if answer := l.frame(20 * time.Second); !strings.HasPrefix(answer, "40"+namespace+`{"sid":"`) {
				t.Fatalf("CONNECT %s: %s", namespace, answer)
			}
		}
		p.must(201, "POST", "/events/sales", `{"event":"call","data":1}`)
		p.must(201, "POST", "/events/sales", `{"event":"messages.upsert","data":3}`)
		if frame := l.frame(20 * time.Second); !strings.HasPrefix(frame, `42/sales,["messages.upsert"`) {
			t.Errorf("got %s", frame)
		}
	})
	if answer := joins(t, strings.TrimPrefix(p.url, "http://"), ""); answer != `44{"message":"apiKey is required"}` {
		t.Errorf("without a key on /: %s", answer)
	}
}

func TestAnInstanceThatAnEventMadeIsAdoptedAlsoAfterARestart(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, dir, "WEBSOCKET_ENABLED=true")
	for _, name := range []string{"early", "sales"} {
		p.must(201, "POST", "/events/"+name, `{"event":"call"}`)
	}
	p.must(201, "POST", "/instance/create", `{"instanceName":"early","token":"early-token-0123456789"}`)
	p.terminate()
	p = launch(t, dir, "WEBSOCKET_ENABLED=true")
	if answer := p.must(201, "POST", "/instance/create", `{"instanceName":"sales","token":"sales-token-0123456789"}`); !strings.Contains(answer, `"hash":"sales-token-0123456789"`) {
		t.Error(answer)
	}
	for _, name := range []string{"early", "sales"} {
		p.must(403, "POST", "/instance/create", `{"instanceName":"`+name+`","token":"another-token-0123456789"}`)
	}
}
