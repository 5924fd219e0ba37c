package e2e_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// needs skips a test whose client is not installed, unless the environment says that it must be there.
func needs(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if os.Getenv("EVOSINK_REQUIRE_CLIENTS") != "" {
			t.Fatalf("%s is missing", path)
		}
		t.Skipf("%s is missing: `task clients` installs the clients, Debian's package chromium the browser", path)
	}
}

// localHosts lets the documentation's clients in, which have no key: it counts on what Evolution API's example has.
const localHosts = "WEBSOCKET_ALLOWED_HOSTS=127.0.0.1,::1,::ffff:127.0.0.1"

// versions are the client packages by what the tests call them.
var versions = map[string]string{"newest": "socket.io-client", "4.2.0": "socket.io-client-4.2"}

// prepare copies a client into a folder of its own under node_modules's reach, with words replaced.
func prepare(t *testing.T, file string, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("clients", file))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("node_modules", ".e2e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	out := filepath.Join(dir, file)
	if err := os.WriteFile(out, []byte(strings.NewReplacer(replace...).Replace(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

// ws is the address of a namespace.
func (p *process) ws(namespace string) string {
	return "ws" + strings.TrimPrefix(p.url, "http") + namespace
}

func TestTheDocumentationsNodeClient(t *testing.T) {
	needs(t, "node_modules/socket.io-client")
	p := launch(t, t.TempDir(), "WEBSOCKET_ENABLED=true", "WEBSOCKET_GLOBAL_EVENTS=true", localHosts)
	p.must(201, "POST", "/instance/create", `{"instanceName":"sales"}`)
	p.must(201, "POST", "/websocket/set/sales", `{"websocket":{"enabled":true,"events":["MESSAGES_UPSERT"]}}`)
	for version, library := range versions {
		for mode, namespace := range map[string]string{"global": "", "traditional": "/sales"} {
			t.Run(version+" "+mode, func(t *testing.T) {
				script := prepare(t, "node.js", "wss://api.yoursite.com/instance_name", p.ws(namespace),
					"event_name", "messages.upsert", `"socket.io-client"`, `"`+library+`"`)
				lines := start(t, "node", script)
				lines.expect("Connected to the WebSocket server successfully")
				p.must(201, "POST", "/events/sales", `{"event":"MESSAGES_UPSERT","data":{"message":{"conversation":"hello"}}}`)
				lines.expect("Event received: {")
				lines.expect("event: 'messages.upsert'")
				lines.expect("data: { message: { conversation: 'hello' } }")
				lines.expect("apikey: null")
			})
		}
	}
}

func TestADeletedInstanceDisconnectsTheDocumentationsClient(t *testing.T) {
	needs(t, "node_modules/socket.io-client")
	p := launch(t, t.TempDir(), "WEBSOCKET_ENABLED=true", localHosts)
	p.must(201, "POST", "/instance/create", `{"instanceName":"sales","websocket":{"enabled":true,"events":["REMOVE_INSTANCE"]}}`)
	lines := start(t, "node", prepare(t, "node.js", "wss://api.yoursite.com/instance_name", p.ws("/sales"), "event_name", "remove.instance"))
	lines.expect("Connected to the WebSocket server successfully")
	p.must(200, "DELETE", "/instance/delete/sales", "")
	lines.expect("Event received: {")
	lines.expect("Disconnected from the WebSocket server")
}

func TestTheDocumentationsPagesInABrowser(t *testing.T) {
	needs(t, "node_modules/socket.io-client", "/usr/bin/chromium")
	p := launch(t, t.TempDir(), "WEBSOCKET_ENABLED=true", localHosts)
	p.must(201, "POST", "/instance/create", `{"instanceName":"sales"}`)
	p.must(201, "POST", "/websocket/set/sales", `{"websocket":{"enabled":true,"events":["QRCODE_UPDATED","CONNECTION_UPDATE"]}}`)
	for version, library := range versions {
		t.Run("React "+version, func(t *testing.T) {
			component := prepare(t, "QrCode.jsx", "wss://api.yoursite.com/instance_name", p.ws("/sales"))
			dir := filepath.Dir(component)
			link(t, "clients/react.jsx", dir+"/react.jsx")
			bundle := exec.Command("node_modules/.bin/esbuild", "--bundle", "--outfile="+dir+"/page.js",
				"--alias:socket.io-client="+library, dir+"/react.jsx")
			if out, err := bundle.CombinedOutput(); err != nil {
				t.Fatalf("bundle: %v\n%s", err, out)
			}
			page := `<!DOCTYPE html><div id="root"></div><script src="page.js"></script>`
			if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte(page), 0o600); err != nil {
				t.Fatal(err)
			}
			browse(t, p, dir, "index.html?first="+url.QueryEscape(dot+"#first"), dot+"#first", dot+"#next", "", "react-"+version)
		})
		t.Run("plain page "+version, func(t *testing.T) {
			page := prepare(t, "plain.html",
				"https://ajax.googleapis.com/ajax/libs/jquery/3.5.1/jquery.min.js", "jquery.js",
				"https://cdn.socket.io/4.2.0/socket.io.min.js", "socket.io.js",
				"wss://<?= htmlspecialchars($data->getServer()->domain); ?>/<?= htmlspecialchars($data->uuid); ?>", p.ws("/sales"),
				"<?= htmlspecialchars($instance->base64 ?? ''); ?>", image)
			dir := filepath.Dir(page)
			link(t, "node_modules/jquery/dist/jquery.min.js", dir+"/jquery.js")
			link(t, "node_modules/"+library+"/dist/socket.io.min.js", dir+"/socket.io.js")
			browse(t, p, dir, "plain.html", dot, image, dot[:len(dot)-len(image)], "plain-"+version)
		})
	}
}

// dot is a picture of one pixel; whatever follows it is not part of the picture.
const (
	image = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
	dot   = "data:image/png;base64," + image
)

// browse serves dir and follows its page in the browser. The screenshot stays in testartifacts.
func browse(t *testing.T, p *process, dir, page, first, next, prefix, name string) {
	t.Helper()
	files := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer files.Close()
	if err := os.MkdirAll("testartifacts", 0o755); err != nil {
		t.Fatal(err)
	}
	script := exec.Command("node", "clients/browser.mjs", files.URL+"/"+page, p.url+"/events/sales", key,
		filepath.Join("testartifacts", name+".png"), first, next, prefix)
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func link(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// lines are what a program prints.
type lines struct {
	t   *testing.T
	out chan string
}

// start runs a program until the test ends.
func start(t *testing.T, name string, args ...string) *lines {
	t.Helper()
	cmd := exec.Command(name, args...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &lines{t, make(chan string, 1000)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(l.out)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			l.out <- s.Text()
		}
		cmd.Wait()
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	return l
}

// line returns the next line.
func (l *lines) line() string {
	l.t.Helper()
	select {
	case line, ok := <-l.out:
		if !ok {
			l.t.Fatal("the program has ended")
		}
		return strings.TrimSpace(line)
	case <-time.After(20 * time.Second):
		l.t.Fatal("the program has said nothing for 20 s")
		return ""
	}
}

// expect reads until a line contains text.
func (l *lines) expect(text string) {
	l.t.Helper()
	timeout := time.After(20 * time.Second)
	for seen := ""; ; {
		select {
		case line, ok := <-l.out:
			if !ok {
				l.t.Fatalf("the program ended without %q; it said:\n%s", text, seen)
			}
			if strings.Contains(line, text) {
				return
			}
			seen += fmt.Sprintln(line)
		case <-timeout:
			l.t.Fatalf("the program has not said %q within 20 s; it said:\n%s", text, seen)
		}
	}
}
