//go:build unix

package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// until waits for a condition; only a failure uses its time up.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// hang is a receiver that takes requests and never answers. began tells of the first one.
func hang(t *testing.T) (url string, began <-chan struct{}) {
	t.Helper()
	first, release := make(chan struct{}, 1000), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		first <- struct{}{}
		<-release
	}))
	t.Cleanup(func() {
		close(release)
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL, first
}

// switching is a receiver that answers 101 and keeps the connection.
func switching(t *testing.T) (url string, began <-chan struct{}) {
	t.Helper()
	first, release := make(chan struct{}, 1000), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: anything\r\n\r\n")
		first <- struct{}{}
		<-release
	}))
	t.Cleanup(func() {
		close(release)
		server.Close()
	})
	return server.URL, first
}

// upload begins a request to evosink whose body does not come to its end.
func (p *process) upload() {
	p.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST /events/sales HTTP/1.1\r\nHost: evosink\r\napikey: %s\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n", key)
	if answer, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || answer.StatusCode != http.StatusContinue { // its body is being read
		p.t.Fatalf("%v, %v", answer, err)
	}
	fmt.Fprint(conn, `{"event":"messages.upsert","data":{`)
}

// hangingPlugin says ready and then answers nothing, not even drain. It notes the events of sales in its first argument.
const hangingPlugin = `#!/bin/sh
read init
echo '{"type":"ready","protocol":1}'
while read line; do
  case "$line" in *'"instance":"sales"'*) echo event >> "$1";; esac
done
sleep 600
`

// goodbye waits until the client is disconnected and reports whether it was told, and not cut off.
func (l *listener) goodbye() bool {
	l.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	for {
		if _, _, err := l.conn.ReadMessage(); err != nil {
			var told *websocket.CloseError
			return errors.As(err, &told) && told.Code != websocket.CloseAbnormalClosure
		}
	}
}

// The end takes at most as long as docker waits, whatever hangs; it is told, and socket.io clients are told goodbye at
// once.
func TestTheEndHasOneBudgetWhateverHangs(t *testing.T) {
	for name, c := range map[string]struct {
		receiver       func(*testing.T) (string, <-chan struct{})
		upload, plugin bool
		tells          []string
	}{
		"nothing":         {tells: []string{"evosink has ended"}},
		"a receiver":      {receiver: hang, tells: []string{"cut off", "sink webhook, target global, instance sales"}},
		"101":             {receiver: switching}, // its attempt may end or not
		"half an upload":  {upload: true, tells: []string{"requests under way: 1"}},
		"receiver+upload": {receiver: hang, upload: true, tells: []string{"sink webhook", "requests under way: 1"}},
		"a plugin":        {plugin: true, tells: []string{"sink mute, target global, instance sales"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			env := []string{"WEBSOCKET_ENABLED=true", "WEBSOCKET_GLOBAL_EVENTS=true", "PATH=" + os.Getenv("PATH")}
			var began <-chan struct{}
			if c.receiver != nil {
				var url string
				url, began = c.receiver(t)
				env = append(env, "WEBHOOK_GLOBAL_ENABLED=true", "WEBHOOK_GLOBAL_URL="+url, "WEBHOOK_EVENTS_MESSAGES_UPSERT=true")
			}
			noted := filepath.Join(dir, "events")
			if c.plugin {
				if err := os.Mkdir(filepath.Join(dir, "plugins"), 0o755); err != nil {
					t.Fatal(err)
				}
				for file, content := range map[string]string{"mute": hangingPlugin, "mute.json": `{"protocol":1,"global":true,"args":["` + noted + `"]}`} {
					if err := os.WriteFile(filepath.Join(dir, "plugins", file), []byte(content), 0o755); err != nil {
						t.Fatal(err)
					}
				}
				env = append(env, "PLUGIN_DIR="+filepath.Join(dir, "plugins"))
			}
			p := launch(t, dir, env...)
			l := p.listen("")
			p.must(201, "POST", "/events/sales", `{"event":"messages.upsert"}`)
			if c.receiver != nil {
				<-began
			}
			if c.plugin {
				until(t, "the plugin has the event", func() bool { b, _ := os.ReadFile(noted); return len(b) > 0 })
			}
			if c.upload {
				p.upload()
			}
			begun := time.Now()
			p.cmd.Process.Signal(syscall.SIGTERM)
			if !l.goodbye() {
				t.Error("the socket.io client was cut off")
			}
			if c.tells != nil && name != "nothing" && strings.Contains(p.output(), "evosink has ended") {
				t.Error("the socket.io client was told only when what hangs had used up its time")
			}
			if code := p.ended(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if took := time.Since(begun); took > 10*time.Second { // which is what docker stop waits
				t.Errorf("it took %v", took)
			}
			for _, want := range c.tells {
				if !strings.Contains(p.output(), want) {
					t.Errorf("the log does not tell %q", want)
				}
			}
			if name == "nothing" && strings.Contains(p.output(), "cut off") {
				t.Error("the log tells of what was cut off")
			}
		})
	}
}

func TestWhatWasCutOffIsDeliveredAfterTheNextStart(t *testing.T) {
	dir := t.TempDir()
	url, began := hang(t)
	env := []string{"WEBHOOK_GLOBAL_ENABLED=true", "WEBHOOK_EVENTS_MESSAGES_UPSERT=true", "SERVER_SHUTDOWN_TIMEOUT=1s"}
	p := launch(t, dir, append(env, "WEBHOOK_GLOBAL_URL="+url)...)
	p.must(201, "POST", "/events/sales", `{"event":"messages.upsert","data":{"n":1}}`)
	<-began
	if code := p.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	got := make(chan struct{}, 10)
	healthy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got <- struct{}{} }))
	defer healthy.Close()
	launch(t, dir, append(env, "WEBHOOK_GLOBAL_URL="+healthy.URL)...)
	select {
	case <-got:
	case <-time.After(30 * time.Second):
		t.Error("it was not delivered")
	}
}

func TestTheSecondSignalEndsTheProcessAtOnce(t *testing.T) {
	for signal, code := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130} {
		url, began := hang(t)
		p := launch(t, t.TempDir(), "WEBHOOK_GLOBAL_ENABLED=true", "WEBHOOK_GLOBAL_URL="+url, "WEBHOOK_EVENTS_MESSAGES_UPSERT=true", "SERVER_SHUTDOWN_TIMEOUT=10m")
		p.must(201, "POST", "/events/sales", `{"event":"messages.upsert"}`)
		<-began
		p.cmd.Process.Signal(signal)
		until(t, "shutting down", func() bool { return strings.Contains(p.output(), "shutting down") })
		p.cmd.Process.Signal(signal)
		<-p.done
		if got := p.cmd.ProcessState.ExitCode(); got != code {
			t.Errorf("%v: exit code %d, want %d", signal, got, code)
		}
	}
}

func TestAClosedLogAndHarmlessSignalsDoNotEndTheServer(t *testing.T) {
	p := launch(t, t.TempDir(), "LOG_LEVEL=debug")
	for _, s := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE, syscall.SIGHUP} {
		p.cmd.Process.Signal(s)
	}
	until(t, "SIGHUP", func() bool { return strings.Contains(p.output(), "SIGHUP") })
	p.stderr.Close()
	for range 10 { // each writes lines to the log
		p.must(201, "POST", "/events/sales", `{"event":"messages.upsert"}`)
	}
	if code := p.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A client's command that the main API does not answer is cut off like the rest.
func TestACommandUnderWayDoesNotHoldTheEndUp(t *testing.T) {
	url, began := hang(t)
	p := launch(t, t.TempDir(), "WEBSOCKET_ENABLED=true", "COMMANDS_URL="+url, "COMMANDS_TIMEOUT=1m", "SERVER_SHUTDOWN_TIMEOUT=2s")
	p.must(201, "POST", "/instance/create", `{"instanceName":"sales","token":"the-token-of-sales","websocket":{"enabled":true}}`)
	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(p.url, "http")+"/socket.io/?EIO=4&transport=websocket&apikey=the-token-of-sales", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l := &listener{t, conn}
	conn.WriteMessage(websocket.TextMessage, []byte("40/sales,"))
	for !strings.HasPrefix(l.frame(30*time.Second), "40/sales,") {
	}
	conn.WriteMessage(websocket.TextMessage, []byte(`42/sales,0["send.message",{"number":"5511","text":"hello"}]`))
	select {
	case <-began:
	case <-time.After(30 * time.Second):
		t.Fatal("the main API is not asked")
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	if !l.goodbye() {
		t.Error("the socket.io client was cut off")
	}
	if code := p.ended(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.Contains(p.output(), "evosink has ended") {
		t.Error("the log does not tell of the end")
	}
}
