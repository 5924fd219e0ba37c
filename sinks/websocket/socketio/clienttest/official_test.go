package clienttest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The official suites of the protocols, in a checkout of socketio/socket.io.
var suites = []struct {
	folder string
	adapt  func(suite string) string
}{
	{"docs/engine.io-protocol/v4-test-suite", nil},
	{"docs/engine.io-protocol/v3-test-suite", func(suite string) string {
		suite = strings.ReplaceAll(suite, "/engine.io/", "/eio3/")
		// It waits for "open" first, and may miss the message that comes with it.
		return opensFirst.ReplaceAllString(suite, "$1")
	}},
	{"docs/socket.io-protocol/v5-test-suite", nil},
}

var opensFirst = regexp.MustCompile(`await waitFor\(socket, "open"\);\s*(await waitFor\(socket, "message"\); // handshake)`)

// TestOfficialSuites runs the suites of the checkout that EVOSINK_OFFICIAL_SUITES
// names, with the address and mount changed. The checkout stays as it is.
func TestOfficialSuites(t *testing.T) {
	checkout := os.Getenv("EVOSINK_OFFICIAL_SUITES")
	if checkout == "" {
		t.Skip("EVOSINK_OFFICIAL_SUITES names no checkout of socketio/socket.io")
	}
	npm := require(t, "npm")
	url, _ := conformance(t)
	for _, s := range suites {
		t.Run(filepath.Base(filepath.Dir(s.folder))+"/"+filepath.Base(s.folder), func(t *testing.T) {
			folder := t.TempDir()
			for _, name := range []string{"package.json", "package-lock.json", "node-imports.js", "test-suite.js"} {
				copyAdapted(t, filepath.Join(checkout, s.folder, name), filepath.Join(folder, name), func(text string) string {
					if s.adapt != nil {
						text = s.adapt(text)
					}
					return strings.ReplaceAll(text, "http://localhost:3000", url)
				})
			}
			run(t, folder, npm, "ci", "--silent")
			run(t, folder, npm, "test")
		})
	}
	settles(t, url)
}

func copyAdapted(t *testing.T, from, to string, adapt func(string) string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(to) == "test-suite.js" {
		text = []byte(adapt(string(text)))
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
