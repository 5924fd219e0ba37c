package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// An answer is what a client gets for a command.
type answer struct {
	OK     bool            `json:"ok"`
	Result json.RawMessage `json:"result"`
	Error  struct {
		Code   string `json:"code"`
		Status int    `json:"status"`
	} `json:"error"`
}

// talk runs the commanding client and returns its answers.
func talk(t *testing.T, where, address, key string) map[string]answer {
	t.Helper()
	cmd := exec.Command("node", "clients/command.mjs", where, address, key)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, stderr.String())
	}
	var answers map[string]answer
	if err := json.Unmarshal(out, &answers); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return answers
}

// codes holds answers against the codes that are documented.
func codes(t *testing.T, got map[string]answer) {
	t.Helper()
	if !got["done"].OK {
		t.Errorf("send.message: %+v", got["done"])
	}
	for name, code := range map[string]string{
		"invalid": "invalid", "unknown": "unknown_command", "unacknowledged": "unknown_command", "fast": "rate_limited", "large": "too_large",
	} {
		if a := got[name]; a.OK || a.Error.Code != code {
			t.Errorf("%s: %+v, want the code %s", name, a, code)
		}
	}
}

// everywhere runs a test in Node and in the browser.
func everywhere(t *testing.T, test func(t *testing.T, where string)) {
	needs(t, "node_modules/socket.io-client", "/usr/bin/chromium")
	for _, where := range []string{"node", "browser"} {
		t.Run(where, func(t *testing.T) { test(t, where) })
	}
}

func TestClientsCommandTheMainAPIThroughTheBinary(t *testing.T) {
	var mu sync.Mutex
	var asked []string // guarded by mu
	main := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("apikey")+" "+string(body))
		mu.Unlock()
		if !strings.Contains(string(body), `"number"`) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"key":{"id":"3EB0"},"status":"PENDING"}`)
	}))
	defer main.Close()
	p := launch(t, t.TempDir(), "WEBSOCKET_ENABLED=true", "COMMANDS_URL="+main.URL, "COMMANDS_TIMEOUT=2s")
	p.must(201, "POST", "/instance/create", `{"instanceName":"sales","token":"sales-token-0123","websocket":{"enabled":true}}`)
	everywhere(t, func(t *testing.T, where string) {
		mu.Lock()
		asked = nil
		mu.Unlock()
		got := talk(t, where, p.ws("/sales"), "sales-token-0123")
		codes(t, got)
		if string(got["done"].Result) != `{"key":{"id":"3EB0"},"status":"PENDING"}` {
			t.Errorf("the main API's answer came back as %s", got["done"].Result)
		}
		const want = `POST /message/sendText/sales sales-token-0123 {"number":"5511","text":"Hello, World!"}`
		mu.Lock()
		defer mu.Unlock()
		if len(asked) != 2 || asked[0] != want {
			t.Errorf("the main API was asked %q", asked)
		}
	})
	main.Close()
	if got := talk(t, "node", p.ws("/sales"), "sales-token-0123"); got["done"].Error.Code != "unavailable" {
		t.Errorf("while the main API is down: %+v", got["done"])
	}
}

func TestWithoutAMainAPIEveryCommandIsAnsweredToTheOfficialClient(t *testing.T) {
	needs(t, "node_modules/socket.io-client")
	p := launch(t, t.TempDir(), "WEBSOCKET_ENABLED=true")
	p.must(201, "POST", "/instance/create", `{"instanceName":"sales","token":"sales-token-of-this-test","websocket":{"enabled":true}}`)
	got := talk(t, "node", p.ws("/sales"), "sales-token-of-this-test")
	for name, code := range map[string]string{
		"done": "unavailable", "invalid": "unavailable", "unknown": "unavailable", "unacknowledged": "unavailable", "fast": "rate_limited", "large": "unavailable",
	} {
		if a := got[name]; a.OK || a.Error.Code != code {
			t.Errorf("%s: %+v, want the code %s", name, a, code)
		}
	}
}

func TestClientsCommandTheLibraryExample(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "api")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/evosink/evosink/plugins/examples/api").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	address := freeAddress(t)
	cmd := exec.Command(binary, "-listen", address, "-key", key)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	connect(t, "http://"+address+"/instance/connect/sales")
	everywhere(t, func(t *testing.T, where string) {
		codes(t, talk(t, where, "ws://"+address+"/sales", "sales-token"))
	})
	counts, err := http.Get("http://" + address + "/counts")
	if err != nil {
		t.Fatal(err)
	}
	defer counts.Body.Close()
	if body, _ := io.ReadAll(counts.Body); !strings.Contains(string(body), `"SendMessage":2`) {
		t.Errorf("the API's own handler counted %s", body)
	}
}

// freeAddress returns an address without a listener, whose port the system gives to no process that asks for any port.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprint("127.0.0.1:", 20000+rand.N(10000))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// connect posts until the API is there.
func connect(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		r, _ := http.NewRequest("POST", url, nil)
		r.Header.Set("apikey", key)
		answer, err := http.DefaultClient.Do(r)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Fatal(answer.Status)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
