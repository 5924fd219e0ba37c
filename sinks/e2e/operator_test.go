package e2e_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// runIn runs evosink in dir with exactly the variables of env, and returns what it printed and its code.
func runIn(t *testing.T, dir string, env []string, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir, cmd.Env = dir, append([]string{}, env...) // nil would be those of the test
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestServiceLinksOfKubernetesDoNotEndTheStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte("server: {port: 0}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const link = "=tcp://10.96.3.4:8080"
	p := launch(t, dir, "SERVER_PORT"+link, "EVOSINK_SERVER_PORT"+link, "S3_PORT"+link, "EVOSINK_PORT"+link, "EVOSINK_SERVICE_HOST=10.96.3.4", "EVOSINK_SERVICE_PORT=8080",
		"EVOSINK_PORT_8080_TCP"+link, "EVOSINK_PORT_8080_TCP_PROTO=tcp", "EVOSINK_PORT_8080_TCP_PORT=8080", "EVOSINK_PORT_8080_TCP_ADDR=10.96.3.4", "WEBHOOK_EVENTS_SERVICE_HOST=10.96.3.4")
	p.must(200, "GET", "/readyz", "")
	for _, name := range []string{"SERVER_PORT", "EVOSINK_SERVER_PORT", "S3_PORT", "WEBHOOK_EVENTS_SERVICE_HOST"} {
		if strings.Count(p.output(), `"message":"`+name+"=") != 1 || !strings.Contains(p.output(), "enableServiceLinks: false") {
			t.Errorf("there is not one warning about %s", name)
		}
	}
	if n := strings.Count(p.output(), `"level":"warn"`); n != 4 {
		t.Errorf("%d warnings, want 4", n)
	}
}

func TestTheLogLevelsOfEvolutionsExampleDoNotFloodTheLog(t *testing.T) {
	p := launch(t, t.TempDir(), "LOG_LEVEL=ERROR,WARN,DEBUG,INFO,LOG,VERBOSE,DARK,WEBHOOKS,WEBSOCKET")
	p.must(201, "POST", "/events/sales", `{"event":"messages.upsert"}`)
	if n := strings.Count(p.output(), "\n"); n > 20 {
		t.Errorf("%d lines for a start and an event:\n%s", n, p.output())
	}
}

// evolutionExample has those lines of Evolution API's .env.example that mean something to evosink too, or look so.
const evolutionExample = `SERVER_NAME=evolution
SERVER_TYPE=http
SERVER_URL=http://localhost:8080
SSL_CONF_PRIVKEY=/path/to/cert.key
SSL_CONF_FULLCHAIN=/path/to/cert.crt
METRICS_ALLOWED_IPS=127.0.0.1,10.0.0.100,192.168.1.50
CORS_ORIGIN=*
CORS_METHODS=GET,POST,PUT,DELETE
CORS_CREDENTIALS=true
LOG_LEVEL=ERROR,WARN,DEBUG,INFO,LOG,VERBOSE,DARK,WEBHOOKS,WEBSOCKET
LOG_COLOR=true
LOG_BAILEYS=error
EVENT_EMITTER_MAX_LISTENERS=50
DEL_INSTANCE=false
DATABASE_CONNECTION_URI='postgresql://user:pass@postgres:5432/evolution_db?schema=evolution_api'
RABBITMQ_ENABLED=false
RABBITMQ_URI=amqp://localhost
RABBITMQ_EXCHANGE_NAME=evolution
RABBITMQ_FRAME_MAX=8192
RABBITMQ_EVENTS_APPLICATION_STARTUP=false
SQS_ENABLED=false
SQS_REGION=
SQS_GLOBAL_FORCE_SINGLE_QUEUE=false
WEBSOCKET_ENABLED=false
WEBSOCKET_ALLOWED_HOSTS=127.0.0.1,::1,::ffff:127.0.0.1
PUSHER_GLOBAL_USE_TLS=true
PUSHER_EVENTS_APPLICATION_STARTUP=true
KAFKA_CONSUMER_GROUP_ID=evolution-api-consumers
KAFKA_REQUEST_TIMEOUT=30000
KAFKA_SSL_CA=
WEBHOOK_GLOBAL_ENABLED=false
WEBHOOK_GLOBAL_URL=''
WEBHOOK_EVENTS_ERRORS_WEBHOOK=
WEBHOOK_REQUEST_TIMEOUT_MS=60000
WEBHOOK_RETRY_NON_RETRYABLE_STATUS_CODES=400,401,403,404,422
CONFIG_SESSION_PHONE_CLIENT=Evolution API
QRCODE_COLOR='#175197'
CACHE_REDIS_URI=redis://localhost:6379/6
S3_PORT=443
AUTHENTICATION_API_KEY=429683C4C977415CAAFCCE10F7D57E11
AUTHENTICATION_EXPOSE_IN_FETCH_INSTANCES=true
LANGUAGE=en
`

func TestEvolutionsExampleNeedsOneChangeAndTheErrorNamesIt(t *testing.T) {
	for name, c := range map[string]struct {
		env, says string
		code      int
	}{
		"as it is":              {evolutionExample, "set CORS_CREDENTIALS=false", 1},
		"with the change":       {strings.Replace(evolutionExample, "CORS_CREDENTIALS=true", "CORS_CREDENTIALS=false", 1), "(warnings: 0)", 0},
		"a webhook without":     {evolutionExample + "WEBHOOK_GLOBAL_ENABLED=true\n", "(WEBHOOK_GLOBAL_URL)", 1},
		"Pusher without an app": {evolutionExample + "PUSHER_ENABLED=true\nPUSHER_GLOBAL_ENABLED=true\n", "sinks.pusher.global_app_id must not be empty (PUSHER_GLOBAL_APP_ID)", 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(c.env), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, code := runIn(t, dir, nil, "config", "check"); code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("code %d: %s", code, out)
			}
		})
	}
}

func TestConfigCheckTellsAllThatTheStartTells(t *testing.T) {
	for name, c := range map[string]struct{ env, says string }{
		"larger events than the engine's":     {"EVENTS_MAX_BYTES=33554432", "events.max_bytes (33554432) is above sqlite.max_event_bytes (16777216)"},
		"global events of a sink that is off": {"WEBSOCKET_GLOBAL_EVENTS=true", "sinks.websocket.global_events delivers nothing (environment WEBSOCKET_GLOBAL_EVENTS): sinks.websocket.enabled is off"},
		"a global sink that is off":           {"RABBITMQ_GLOBAL_ENABLED=true", "sinks.rabbitmq.global_enabled delivers nothing"},
		"a global webhook without events":     {"WEBHOOK_GLOBAL_ENABLED=true WEBHOOK_GLOBAL_URL=https://h.example/", "sinks.webhook.global_enabled delivers nothing"},
		"an event that is nearly known":       {"DELIVERY_DROP_OLDEST=presense.update,my.own", `delivery.drop_oldest: \"presense.update\" is not a known event, did you mean PRESENCE_UPDATE?`},
		"a short key beyond loopback":         {"SERVER_HOST=0.0.0.0 AUTHENTICATION_API_KEY=secret", "auth.api_key has 6 characters"},
		"what a sink itself warns of":         {"WEBSOCKET_ENABLED=true WEBSOCKET_ALLOWED_HOSTS=127.0.0.1", "clients at WEBSOCKET_ALLOWED_HOSTS need no key"},
		"receivers that anybody can be":       {"WEBHOOK_TLS_INSECURE_SKIP_VERIFY=true", "tls.insecure_skip_verify is on"},
		"nothing":                             {"EVENTS_MAX_BYTES=16777216 DELIVERY_DROP_OLDEST=my.own AUTHENTICATION_API_KEY=secret", ""},
	} {
		t.Run(name, func(t *testing.T) {
			env := append([]string{"SERVER_PORT=0", "SERVER_HOST=127.0.0.1", "AUTHENTICATION_API_KEY=" + key}, strings.Fields(c.env)...)
			out, code := runIn(t, t.TempDir(), env, "config", "check")
			if code != 0 || (c.says == "") != strings.Contains(out, "(warnings: 0)") || !strings.Contains(out, strings.ReplaceAll(c.says, `\"`, `"`)) {
				t.Errorf("code %d: %s", code, out)
			}
			p := launch(t, t.TempDir(), strings.Fields(c.env)...)
			if warned := strings.Contains(p.output(), `"level":"warn"`); warned != (c.says != "") || !strings.Contains(p.output(), c.says) {
				t.Errorf("the start does not say %q", c.says)
			}
			if n := strings.Count(p.output(), `"level":"warn"`); n > 1 {
				t.Errorf("the start says it in %d lines: %s", n, p.output())
			}
		})
	}
	bounded, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for env, says := range map[string]string{
		"EVENTS_MAX_BYTES=99999999":                                         "events.max_bytes must not be above server.max_body_bytes",
		"KAFKA_ENABLED=true KAFKA_SSL_ENABLED=true KAFKA_SSL_CA=/none":      "sink kafka: tls.ca",
		"SERVER_TYPE=https SSL_CONF_FULLCHAIN=/none SSL_CONF_PRIVKEY=/none": "server.certificate, server.private_key: open /none",
		"AUTHENTICATION_API_KEY_PREVIOUS=" + key:                            "auth.previous_api_key is the same as api_key",
	} {
		for _, args := range [][]string{{"config", "check"}, nil} {
			start := exec.CommandContext(bounded, binary, args...)
			start.Dir = t.TempDir()
			start.Env = append(command(t, "").Env, strings.Fields(env)...)
			refuses(t, start, says)
		}
	}
}

func TestADirectoryDoesNotGetTheKeyOfItsUser(t *testing.T) {
	var keys atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(fmt.Sprint(r.Header), key) {
			keys.Add(1)
		}
		w.Write([]byte(`{"sinks":[]}`))
	}))
	defer proxy.Close()
	home := t.TempDir()
	for path, content := range map[string]string{"key": key, "mine.yaml": "auth: {api_key: " + key + "}"} {
		if err := os.WriteFile(filepath.Join(home, path), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const host = "SERVER_HOST=evil.invalid\n"
	mine := []string{"http_proxy=" + proxy.URL, "AUTHENTICATION_API_KEY=" + key} // every name leads to the proxy
	for name, c := range map[string]struct {
		files map[string]string
		env   []string
		sent  int32
	}{
		".env names the host":                         {map[string]string{".env": host}, mine, 0},
		"config.yaml names the host":                  {map[string]string{"config.yaml": "server: {host: evil.invalid}"}, mine, 0},
		".env names the host, and the file of a key":  {map[string]string{".env": host + "AUTHENTICATION_API_KEY_FILE=" + home + "/key"}, mine[:1], 0},
		".env names the host, and a file with a key":  {map[string]string{".env": host + "EVOSINK_CONFIG=" + home + "/mine.yaml"}, mine[:1], 0},
		".env names the host and holds the key":       {map[string]string{".env": host + "AUTHENTICATION_API_KEY=" + key}, mine[:1], 1},
		"the environment names both, .env says other": {map[string]string{".env": host}, append(mine, "SERVER_HOST=mine.invalid"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range c.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			keys.Store(0)
			out, code := runIn(t, dir, c.env, "sinks")
			if keys.Load() != c.sent || (code == 0) != (c.sent > 0) || c.sent == 0 && !strings.Contains(out, "so it is not sent there") {
				t.Errorf("the key was sent %d times, want %d; code %d: %s", keys.Load(), c.sent, code, out)
			}
		})
	}
}

func TestTwoGlobalKeysOpenAndTheAuditTellsWhich(t *testing.T) {
	const previous = "the-previous-global-key"
	p := launch(t, t.TempDir(), "AUTHENTICATION_API_KEY_PREVIOUS="+previous)
	create := func(key, name string) int {
		r, _ := http.NewRequest("POST", p.url+"/instance/create", strings.NewReader(`{"instanceName":"`+name+`"}`))
		r.Header.Set("apikey", key)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	if a, b, c := create(key, "one"), create(previous, "two"), create("another", "three"); a != 201 || b != 201 || c != 401 {
		t.Errorf("answered %d, %d and %d", a, b, c)
	}
	for name, which := range map[string]string{"one": "global", "two": "previous"} {
		want := regexp.MustCompile(`"component":"audit","action":"instance.create","from":"127.0.0.1","key":"` + which + `","instance":"` + name + `"`)
		if !want.MatchString(p.output()) {
			t.Errorf("the log has no %s", want)
		}
	}
	if strings.Contains(p.output(), key) || strings.Contains(p.output(), previous) {
		t.Error("the log shows a key")
	}
	answer, err := http.Get(p.url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var ready map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&ready); err != nil || len(ready) != 1 || ready["status"] != "ready" {
		t.Errorf("without a key /readyz tells %v", ready)
	}
}

func TestTheCommandLineKnowsItsOwnServersCertificate(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, "cert.pem", "key.pem")
	certificate(t, dir, "other.pem", "otherkey.pem")
	env := []string{"SERVER_TYPE=https", "SSL_CONF_FULLCHAIN=cert.pem", "SSL_CONF_PRIVKEY=key.pem"}
	p := launch(t, dir, env...)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	env = append(env, "SERVER_HOST=127.0.0.1", "SERVER_PORT="+port, "AUTHENTICATION_API_KEY="+key)
	if out, code := runIn(t, dir, env, "sinks"); code != 0 || !strings.Contains(out, "websocket") {
		t.Errorf("code %d: %s", code, out)
	}
	if out, code := runIn(t, dir, append(env, "SSL_CONF_FULLCHAIN=other.pem"), "sinks"); code != 1 || !strings.Contains(out, "another certificate than other.pem holds") {
		t.Errorf("code %d: %s", code, out)
	}
	if out, code := runIn(t, dir, env, "sinks", "--url", "https://localhost:"+port); code != 1 || !strings.Contains(out, "not trusted here") {
		t.Errorf("code %d: %s", code, out)
	}
	if out, code := runIn(t, dir, env, "sinks", "--url", "https://api.example:"+port, "--ca", "cert.pem"); code != 1 || strings.Contains(out, "no certificate is in") {
		t.Errorf("code %d: %s", code, out)
	}
}

// certificate writes a self-signed certificate for api.example, and its key.
func certificate(t *testing.T, dir, certFile, keyFile string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"api.example"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: raw}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAReplayOutlivesItsCommandAndLeavesTheRestWhenTheServerEnds(t *testing.T) {
	var well atomic.Bool
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer receiver.Close()
	dir := t.TempDir()
	env := []string{"WEBHOOK_ENABLED=true", "WEBHOOK_GLOBAL_ENABLED=true", "WEBHOOK_GLOBAL_URL=" + receiver.URL, "WEBHOOK_EVENTS_ALL=true"}
	p := launch(t, dir, env...)
	letters := func() (n int) {
		var answer struct{ Total int }
		if err := json.Unmarshal([]byte(p.must(200, "GET", "/admin/dead?instance=sales&limit=1", "")), &answer); err != nil {
			t.Fatal(err)
		}
		return answer.Total
	}
	until := func(what string, condition func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("waited in vain for %s", what)
			}
		}
	}
	for i := range 40 {
		p.must(201, "POST", "/events/sales", fmt.Sprintf(`{"event":"messages.upsert","id":"e-%d"}`, i))
	}
	until("40 dead letters", func() bool { return letters() == 40 })
	well.Store(true)
	replay := p.command("dead", "replay", "--instance", "sales", "--rate", "2", "--yes")
	var out bytes.Buffer
	replay.Stdout, replay.Stderr = &out, &out
	if err := replay.Start(); err != nil {
		t.Fatal(err)
	}
	until("two steps", func() bool { return letters() <= 36 })
	replay.Process.Signal(syscall.SIGINT)
	replay.Wait()
	id := regexp.MustCompile(`evosink dead watch ([0-9a-f]{8}) follows it`).FindStringSubmatch(out.String())
	if id == nil || replay.ProcessState.ExitCode() != 1 {
		t.Fatalf("code %d: %s", replay.ProcessState.ExitCode(), &out)
	}
	left := letters()
	until("the replay to go on", func() bool { return letters() < left })
	if code := p.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	ended := regexp.MustCompile(`"why":"The server is shutting down; replay again for the rest","action":"replay.end","replay":"` + id[1] + `","letters":(\d+),"of":40`).FindStringSubmatch(p.output())
	if ended == nil {
		t.Fatal("the log does not tell that the replay was ended")
	}
	p = launch(t, dir, env...)
	if got := fmt.Sprint(40 - letters()); got != ended[1] {
		t.Errorf("%s letters were put back, the log told %s", got, ended[1])
	}
	watch := p.command("dead", "watch", id[1])
	if said, _ := watch.CombinedOutput(); !strings.Contains(string(said), "a restart of the server ends them: what was not put back by then is still among the dead letters") {
		t.Errorf("%s", said)
	}
}
