package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
	clients []*lines
}

// prelude makes clients say what happens to them, in lines that begin with a number sign, and stands for functions that are the
// reader's own.
const prelude = `const load = () => undefined, reload = () => {};
const io = (...args) => {
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
	var env []string
	for word := range strings.FieldsSeq(text) {
		if name, _, assigned := strings.Cut(word, "="); assigned && name == strings.ToUpper(name) {
			env = append(env, word)
		}
	}
	p := launch(n.t, n.dir, append([]string{"AUTHENTICATION_API_KEY=", "SERVER_PORT=" + n.port}, env...)...)
	if !strings.HasSuffix(p.url, ":"+n.port) {
		n.t.Fatalf("it listens on %s", p.url)
	}
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
	if len(n.clients) < 2 {
		t.Fatalf("the README has %d clients", len(n.clients))
	}
	r, err := http.NewRequest("POST", fmt.Sprintf("http://localhost:%s/events/sales", port), strings.NewReader(
		`{"event":"qrcode.updated","data":{"qrcode":{"base64":"the-picture"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("apikey", key)
	answer, err := http.DefaultClient.Do(r)
	if err != nil || answer.StatusCode != http.StatusCreated {
		t.Fatal(answer, err)
	}
	answer.Body.Close()
	for _, client := range n.clients {
		client.expect("# event qrcode.updated")
	}
	n.clients[1].expect("the-picture")
}
