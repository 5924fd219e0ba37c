package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A block is a piece of code in the README.
type block struct{ language, text string }

// blocks returns the code in a section of the README, in order.
func blocks(t *testing.T, readme, section string) (out []block) {
	t.Helper()
	_, text, found := strings.Cut(readme, "\n## "+section+"\n")
	if !found {
		t.Fatalf("README has no section %q", section)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	for _, fence := range regexp.MustCompile("(?s)\n```(\\w+)\n(.*?)\n```").FindAllStringSubmatch(text, -1) {
		out = append(out, block{fence[1], fence[2]})
	}
	return out
}

// A newcomer goes through the README, line by line.
type newcomer struct {
	t       *testing.T
	dir     string
	port    string
	server  *process
	env     []string
	clients []*lines
}

// prelude makes clients say what happens to them, in lines that begin with a number sign.
const prelude = `const io = (...args) => {
  const socket = require("socket.io-client").io(...args);
  socket.on("connect", () => console.log("# connected"));
  socket.on("connect_error", (error) => console.log("# refused: " + error.message));
  socket.onAny((event) => console.log("# event " + event));
  return socket;
};
`

// ours replaces the address of the README by the test's.
func (n *newcomer) ours(text string) string {
	return strings.ReplaceAll(text, "localhost:8080", "localhost:"+n.port)
}

// shell runs lines of a shell. An HTTP answer that is an error ends it.
func (n *newcomer) shell(text string) {
	n.t.Helper()
	cmd := exec.Command("bash", "-ec", "curl() { command curl -sS --fail-with-body \"$@\"; }\n"+n.ours(text))
	cmd.Dir = n.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("%s\n%v: %s", text, err, out)
	}
}

// launch starts the server as a line of the README does, and waits until it is ready.
func (n *newcomer) launch(text string) {
	n.t.Helper()
	env := []string{"AUTHENTICATION_API_KEY=", "SERVER_PORT=" + n.port}
	for word := range strings.FieldsSeq(text) {
		if name, _, assigned := strings.Cut(word, "="); assigned && name == strings.ToUpper(name) {
			env = append(env, word)
		}
	}
	n.env = env
	n.server = launch(n.t, n.dir, env...)
	if !strings.HasSuffix(n.server.url, ":"+n.port) {
		n.t.Fatalf("it listens on %s", n.server.url)
	}
}

// post sends an event of the instance sales.
func (n *newcomer) post(key, event string) {
	n.t.Helper()
	r, err := http.NewRequest("POST", fmt.Sprintf("http://localhost:%s/events/sales", n.port), strings.NewReader(event))
	if err != nil {
		n.t.Fatal(err)
	}
	r.Header.Set("apikey", key)
	answer, err := http.DefaultClient.Do(r)
	if err != nil || answer.StatusCode != http.StatusCreated {
		n.t.Fatal(answer, err)
	}
	answer.Body.Close()
}

// listen starts a client and waits until it has connected.
func (n *newcomer) listen(text string) {
	n.t.Helper()
	text = regexp.MustCompile(`(?m)^.*(require\("socket.io-client"\)|from "socket.io-client").*$`).ReplaceAllString(n.ours(text), "")
	dir, err := os.MkdirTemp("node_modules", ".e2e")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "client.cjs")
	if err := os.WriteFile(file, []byte(prelude+text), 0o600); err != nil {
		n.t.Fatal(err)
	}
	l := start(n.t, "node", file)
	for {
		line := l.line()
		if strings.HasPrefix(line, "# refused") {
			n.t.Fatalf("%s\n%s", text, line)
		}
		if line == "# connected" {
			break
		}
	}
	n.clients = append(n.clients, l)
}

func TestANewcomerGetsThroughTheReadmeLineByLine(t *testing.T) {
	needs(t, "node_modules/socket.io-client")
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(freeAddress(t))
	n := &newcomer{t: t, dir: t.TempDir(), port: port}
	var key string
	for _, section := range []string{"Run it", "The two websocket modes"} {
		for _, b := range blocks(t, string(readme), section) {
			if _, value, found := strings.Cut(b.text, "AUTHENTICATION_API_KEY="); found {
				key = strings.Fields(value)[0]
			}
			switch {
			case b.language == "sh" && strings.Contains(b.text, "go run ."):
				n.launch(b.text)
			case b.language == "sh":
				n.shell(b.text)
				if event := regexp.MustCompile(`/events/[^\n]*\\?\n?.*?"event": ?"([^"]+)"`).FindStringSubmatch(b.text); event != nil {
					for _, client := range n.clients {
						client.expect("# event " + event[1])
						client.expect(event[1]) // and what the block itself prints
					}
				}
			case b.language == "js":
				n.listen(b.text)
			}
		}
	}
	if len(n.clients) != 3 {
		t.Fatalf("the README has %d clients", len(n.clients))
	}
	n.post(key, `{"event":"qrcode.updated","data":{"qrcode":{"base64":"the-picture"}}}`)
	for _, client := range n.clients {
		client.expect("# event qrcode.updated")
	}
	n.clients[1].expect("the-picture")
	if code := n.server.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	n.server = launch(t, n.dir, n.env...)
	n.post(key, `{"event":"messages.upsert"}`) // before the clients try again; the third says since when it was away
	for line := ""; line != "# event messages.upsert"; line = n.clients[2].line() {
		if line == "# event replay.expired" {
			t.Fatal("the client with since has lost events")
		}
	}
}

func TestTheReadmesConfigurationEventsAndPluginsAreAsPrinted(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := blocks(t, string(readme), "Configuration")[0].text
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := runIn(t, dir, nil, "config", "check"); code != 0 || !strings.Contains(out, "(warnings: 0)") {
		t.Errorf("config check: %d %s", code, out)
	}

	p := launch(t, t.TempDir(), "WEBSOCKET_ENABLED=true", "WEBSOCKET_GLOBAL_EVENTS=true")
	client := p.listen(`{"events":["messages.upsert"]}`)
	events := blocks(t, string(readme), "Events")
	p.must(201, "POST", "/events/sales", events[0].text)
	var got []any // name, envelope, and the offset for a recovery
	var want any
	frame := client.frame(30 * time.Second)
	if err := errors.Join(json.Unmarshal([]byte(strings.TrimPrefix(frame, "42")), &got), json.Unmarshal([]byte(events[1].text), &want)); err != nil {
		t.Fatal(err)
	}
	if len(got) < 2 || !reflect.DeepEqual(got[1], want) {
		t.Errorf("a consumer gets %s, not %s", frame, events[1].text)
	}

	commands := blocks(t, string(readme), "Write a sink of your own")[0].text
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("the README's plugin needs python3")
	}
	for line := range strings.Lines(commands) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " #")
		if args, found := strings.CutPrefix(line, "go run . "); found {
			if out, code := runIn(t, dir, os.Environ(), strings.Fields(args)...); code != 0 {
				t.Fatalf("%s: %d %s", line, code, out)
			}
		}
	}
	variables := strings.Fields(strings.TrimSuffix(commands[strings.LastIndex(strings.TrimSpace(commands), "\n")+1:], "go run ."))
	plugin := launch(t, dir, append(variables, "PATH="+os.Getenv("PATH"))...)
	until(t, "the plugin has written the first event", func() bool { return strings.Contains(plugin.output(), "hello application.startup of evosink") })
}

// own makes a program of the Example in package core.
const own = `package main

func main() { Example() }

func elsewhere() (back func()) { return func() {} }
`

func TestTheReadmesLibraryIsTheExampleAndRunsInAModuleOfItsOwn(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile(filepath.Join(root, "core", "example_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, begins := strings.Cut(string(example), "\t// README begins here.\n")
	text, _, ends := strings.Cut(text, "\n\t// README ends here.\n")
	text = strings.TrimPrefix(strings.ReplaceAll(text, "\n\t", "\n"), "\t")
	if printed := blocks(t, string(readme), "Use it as a library")[0].text; !begins || !ends || text != printed {
		t.Errorf("core/example_test.go has\n%s\n\nand README\n%s", text, printed)
	}
	dir := t.TempDir()
	for name, program := range map[string]string{"main.go": own, "example.go": strings.Replace(string(example), "package core_test", "package main", 1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(program), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"mod", "edit", "-module", "own", "-require", "github.com/evosink/evosink@v0.0.0", "-replace", "github.com/evosink/evosink=" + root},
		{"run", "."},
	} {
		cmd := exec.Command("go", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=", "GOPROXY=off")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "evosink.db")); err != nil {
		t.Error(err)
	}
}
