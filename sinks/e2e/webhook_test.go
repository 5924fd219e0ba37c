package e2e_test

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// A hook is a webhook's other end that keeps whole requests.
type hook struct {
	*httptest.Server
	requests chan hookRequest
}

type hookRequest struct {
	header http.Header
	body   string
}

func newHook(t *testing.T) *hook {
	h := &hook{requests: make(chan hookRequest, 100)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.requests <- hookRequest{r.Header, string(body)}
	}))
	t.Cleanup(h.Close)
	return h
}

// next returns the next request.
func (h *hook) next(t *testing.T) hookRequest {
	t.Helper()
	select {
	case r := <-h.requests:
		return r
	case <-time.After(30 * time.Second):
		t.Fatal("no request came")
		return hookRequest{}
	}
}

func TestCloudEventsAreTakenByTheirSDKWhateverServerURLIs(t *testing.T) {
	needs(t, "node_modules/cloudevents")
	h := newHook(t)
	p := launch(t, t.TempDir())
	p.must(201, "POST", "/instance/create", fmt.Sprintf(`{"instanceName":"são [1]","webhook":{"url":%q,"format":"cloudevents","events":["CALL"]}}`, h.URL))
	var requests strings.Builder
	const segment = "/instance/s%C3%A3o%20%5B1%5D"
	want := []string{}
	for _, c := range [][2]string{
		{"https://api.example", "https://api.example" + segment}, {"https://api.example/base/", "https://api.example/base" + segment},
		{"https://api.example/<ü>", "https://api.example/%3C%C3%BC%3E" + segment},
		{"https://münchen.example", "https://m%C3%BCnchen.example" + segment}, {"http://[::1]:8080", "http://[::1]:8080" + segment},
		{"", segment}, // others are refused at the door, and left out by the sink
	} {
		event, _ := json.Marshal(map[string]any{"event": "call", "server_url": c[0], "sender": "a\ufffeb", "data": 1})
		p.must(201, "POST", "/events/s%C3%A3o%20%5B1%5D", string(event))
		r := h.next(t)
		line, _ := json.Marshal(map[string]any{"headers": map[string]string{"content-type": r.header.Get("Content-Type")}, "body": r.body})
		requests.Write(append(line, '\n'))
		want = append(want, "source "+c[1])
	}
	script := prepare(t, "cloudevents.mjs")
	cmd := exec.Command("node", script)
	cmd.Stdin = strings.NewReader(requests.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i, w := range want {
		if i >= len(got) || got[i] != w {
			t.Errorf("event %d: %q, want %q", i, got[min(i, len(got)-1)], w)
		}
	}
}

// What no find route may show, and every set with the mask must keep.
func TestSecretsInSettingsAreNeverShownAndAreKept(t *testing.T) {
	h, pusher := newHook(t), newHook(t)
	p := launch(t, t.TempDir(), "PUSHER_ENABLED=true", "PUSHER_HOST="+strings.TrimPrefix(pusher.URL, "http://"))
	shown := []string{
		p.must(201, "POST", "/instance/create", fmt.Sprintf(`{"instanceName":"sales",
			"webhook":{"url":%q,"events":["CALL"],"headers":{"jwt_key":"hunter2-jwt","X-A":"b"},"secret":"hunter2-single"},
			"pusher":{"appId":"1","key":"k","secret":"hunter2-pusher","cluster":"sa1","useTLS":false,"events":["CALL"]}}`, h.URL)),
		p.must(201, "POST", "/webhook/set/sales", fmt.Sprintf(`{"webhook":{"enabled":true,"url":%q,"webhooks":[{"name":"b","url":%q,"secret":"hunter2-b"},{"name":"a","url":%q,"secret":"hunter2-a"}]}}`,
			h.URL, h.URL+"/b", h.URL+"/a")),
	}
	find := func(sink string) string {
		out := p.must(200, "GET", "/"+sink+"/find/sales", "")
		shown = append(shown, out)
		return out
	}
	find("webhook")
	find("pusher")
	shown = append(shown, p.must(200, "GET", "/instance/fetchInstances", ""))

	// How an interface works: what find shows is changed and sent back. The first webhook of the list is removed.
	var row map[string]any
	if err := json.Unmarshal([]byte(find("webhook")), &row); err != nil {
		t.Fatal(err)
	}
	list := row["webhooks"].([]any)
	row["webhooks"] = slices.DeleteFunc(list, func(w any) bool { return w.(map[string]any)["name"] == "b" })
	row["webhookByEvents"] = true
	block, _ := json.Marshal(map[string]any{"webhook": row})
	shown = append(shown, p.must(201, "POST", "/webhook/set/sales", string(block)))
	for _, body := range []string{find("pusher"), `{"enabled":true,"appId":"1","key":"k","cluster":"sa1","useTLS":false,"events":["CALL"]}`} {
		shown = append(shown, p.must(201, "POST", "/pusher/set/sales", `{"pusher":`+body+`}`))
	}
	for _, text := range shown {
		if strings.Contains(text, "hunter2") || strings.Contains(text, h.URL) && !strings.Contains(text, "***") && !strings.Contains(text, "webhookUrl") {
			t.Errorf("shown: %s", text)
		}
	}

	p.must(201, "POST", "/events/sales", `{"event":"call","data":{"n":1}}`)
	signed := map[string]bool{}
	for range 2 {
		r := h.next(t)
		for _, secret := range []string{"hunter2-single", "hunter2-a", "hunter2-b"} {
			if verified(r, secret) {
				signed[secret] = true
			}
		}
		if authorization := r.header.Get("Authorization"); signed["hunter2-single"] && len(signed) == 1 && !strings.HasPrefix(authorization, "Bearer ey") {
			t.Errorf("the token's key was lost: Authorization is %q", authorization)
		}
	}
	if !signed["hunter2-single"] || !signed["hunter2-a"] || signed["hunter2-b"] {
		t.Errorf("signed with %v", signed)
	}
	if code, text := p.do("POST", "/webhook/set/sales", `{"webhook":{"enabled":true,"url":"http://h","webhooks":[{"name":"new","url":"http://h","secrets":["***"]}]}}`); code != 400 || !strings.Contains(text, "webhooks.0.secrets.0") {
		t.Errorf("a mask that stands for nothing: %d %s", code, text)
	}
}

// verified checks a request as a receiver does that knows the secret.
func verified(r hookRequest, secret string) bool {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s.%s", r.header.Get("webhook-id"), r.header.Get("webhook-timestamp"), r.body)
	return strings.Contains(r.header.Get("webhook-signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

func TestPrivateAddressesAreOpenToTenantsOnLoopbackOnly(t *testing.T) {
	h := newHook(t)
	_, port, _ := net.SplitHostPort(h.Listener.Addr().String())
	set := func(p *process, host string) (int, string) {
		return p.do("POST", "/webhook/set/sales", fmt.Sprintf(`{"webhook":{"enabled":true,"url":"http://%s:%s/","events":["CALL"]}}`, host, port))
	}
	for _, c := range []struct {
		name string
		env  []string
		want int
	}{
		{"on loopback", nil, 201},
		{"on every address", []string{"SERVER_HOST=0.0.0.0"}, 400},
		{"on loopback, denied", []string{"WEBHOOK_DENY_PRIVATE=true"}, 400},
		{"on every address, not denied", []string{"SERVER_HOST=", "WEBHOOK_DENY_PRIVATE=false"}, 201},
		{"on every address, the network excepted", []string{"SERVER_HOST=", "WEBHOOK_ALLOW_ADDRESSES=127.0.0.0/8:" + port}, 201},
		{"on every address, the host excepted", []string{"SERVER_HOST=", "WEBHOOK_ALLOW_ADDRESSES=10.0.0.0/8,127.0.0.1:" + port}, 201},
		{"on every address, another port excepted", []string{"SERVER_HOST=", "WEBHOOK_ALLOW_ADDRESSES=127.0.0.1:1"}, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := launch(t, t.TempDir(), c.env...)
			p.must(201, "POST", "/instance/create", `{"instanceName":"sales"}`)
			status, text := set(p, "127.0.0.1")
			if status != c.want || status == 400 && !strings.Contains(text, "WEBHOOK_ALLOW_ADDRESSES") {
				t.Fatalf("set answered %d %s, want %d", status, text, c.want)
			}
			if status != 201 {
				if status, _ := set(p, "localhost"); status != 400 {
					t.Errorf("localhost: %d", status)
				}
				return
			}
			p.must(201, "POST", "/events/sales", `{"event":"call","data":1}`)
			h.next(t)
		})
	}
}

func TestAWebhookThatLeadsBackIsRefused(t *testing.T) {
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"SERVER_HOST=", "SERVER_PORT=" + port, "SERVER_URL=https://api.example/base", "AUTHENTICATION_API_KEY=" + key,
		"WEBHOOK_EVENTS_ALL=true", "WEBHOOK_DENY_PRIVATE=false"}
	loops := []string{
		"http://127.0.0.1:" + port + "/ingest/evolution", "http://localhost:" + port, "http://LOCALHOST.:" + port + "/events/sales", "http://[::1]:" + port + "/anything",
		"http://0.0.0.0:" + port + "/", "http://[::ffff:127.0.0.1]:" + port, "http://evosink.localhost:" + port, "http://" + hostname + ":" + port + "/ingest/evolution",
		"https://api.example/base", "https://api.example/base/", "https://api.example/base/events/sales", "https://API.example:443/base/ingest/evolution?x=1",
	}
	others := []string{"http://127.0.0.1:1/", "https://api.example/n8n/webhook", "https://api.example/base/eventsource", "https://other.example/base/events/sales"}
	for i, url := range append(loops, others...) {
		for _, variables := range [][]string{
			{"WEBHOOK_GLOBAL_ENABLED=true", "WEBHOOK_GLOBAL_URL=" + url}, {"WEBHOOK_EVENTS_ERRORS=true", "WEBHOOK_EVENTS_ERRORS_WEBHOOK=" + url},
		} {
			check := command(t, t.TempDir(), "config", "check")
			check.Env = append(slices.Clone(env), variables...)
			if i < len(loops) {
				refuses(t, check, "sinks.webhook", "names this server", "EVOSINK_"+strings.SplitN(variables[1], "=", 2)[0])
			} else if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s is refused: %s", url, out)
			}
		}
	}
	start := command(t, t.TempDir())
	start.Env = append(slices.Clone(env), "WEBHOOK_GLOBAL_ENABLED=true", "WEBHOOK_GLOBAL_URL="+loops[0])
	refuses(t, start, "names this server")

	p := launch(t, t.TempDir(), env...)
	p.must(201, "POST", "/instance/create", `{"instanceName":"sales"}`)
	for i, url := range append(loops, others...) {
		want := 201
		if i < len(loops) {
			want = 400
		}
		if code, text := p.do("POST", "/webhook/set/sales", fmt.Sprintf(`{"webhook":{"enabled":true,"url":%q}}`, url)); code != want {
			t.Errorf("%s: %d %s", url, code, text)
		}
	}
}

// Attempts of 40 instances are answered with bare connections that stay open; 32 are made at once.
func TestAnswersThatAreNeverOverHoldNeitherOthersNorTheEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	held, enough := make(chan net.Conn, 1000), make(chan struct{})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			select {
			case held <- conn:
				if len(held) == 32 {
					close(enough)
				}
			default:
				conn.Close()
			}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		for len(held) > 0 {
			(<-held).Close()
		}
	})
	h := newHook(t)
	p := launch(t, t.TempDir(), "DELIVERY_BREAKER_MAX=1s", "WEBHOOK_RETRY_INITIAL_DELAY_SECONDS=1", "WEBHOOK_RETRY_MAX_DELAY_SECONDS=1")
	for i := range 40 {
		p.must(201, "POST", "/instance/create", fmt.Sprintf(`{"instanceName":"bad%d","webhook":{"url":"http://%s/"}}`, i, l.Addr()))
		p.must(201, "POST", fmt.Sprintf("/events/bad%d", i), `{"event":"call","data":1}`)
	}
	<-enough
	p.must(201, "POST", "/instance/create", fmt.Sprintf(`{"instanceName":"good","webhook":{"url":%q}}`, h.URL))
	p.must(201, "POST", "/events/good", `{"event":"call","data":1}`)
	h.next(t)
	p.terminate() // fails when it does not end
}
