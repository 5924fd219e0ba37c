package webhook_test

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/webhook"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// whsec is the example secret of the Standard Webhooks libraries.
const whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func TestRequestsLookLikeThis(t *testing.T) {
	global := func(c *webhook.Config) {
		c.GlobalEnabled, c.Events = true, sink.Switches{"ALL": true}
	}
	for name, c := range map[string]struct {
		configure func(*webhook.Config)
		codec     event.Codec
		target    sink.Target
		settings  string // URL stands for the receiver's
		change    func(*sink.Delivery)
	}{
		"instance": {target: "instance", settings: `{"url":"URL/hook","enabled":true,"events":[]}`},
		"instance-full": {
			target: "instance",
			settings: `{"url":"URL/hook/?tenant=7","enabled":true,"events":[],"webhookByEvents":true,"webhookBase64":true,"secrets":["` + whsec + `","old"],` +
				`"headers":{"authorization":"Bearer x","X-Custom":"ünï","Connection":"close","Content-Length":"1","Transfer-Encoding":"chunked",` +
				`"X-Attempt":"forged","user-agent":"mine/1","host":"HOST"}}`,
			codec:  event.Codec{ExposeAPIKey: true, LocalTime: time.FixedZone("BRT", -3*3600)},
			change: func(d *sink.Delivery) { d.Attempt = 3 },
		},
		"list": {
			target: "list/crm~07", settings: `{"url":"URL/other","enabled":true,"events":[],"webhooks":[{"name":"crm","url":"URL/crm","enabled":true,"order":"chat"}]}`,
		},
		"cloudevents": {
			target: "instance", settings: `{"url":"URL","enabled":true,"events":[],"format":"cloudevents","secrets":["plain secret"]}`,
			change: func(d *sink.Delivery) { d.Event.Instance = "são paulo" },
		},
		"cloudevents-extra": {
			target: "instance", settings: `{"url":"URL","enabled":true,"events":[],"format":"cloudevents"}`,
			change: func(d *sink.Delivery) {
				d.Event.Extras, d.Event.Data = json.RawMessage(`{"isLatest":true,"specversion":"x"}`), json.RawMessage(`{"a":"\ud800"}`)
			},
		},
		"instance-extra": {
			target: "instance", settings: `{"url":"URL/hook","enabled":true,"events":[]}`,
			change: func(d *sink.Delivery) {
				d.Event.Extras, d.Event.Data = json.RawMessage(`{"isLatest":true,"destination":"x"}`), json.RawMessage(`{"a":"\ud800"}`)
			},
		},
		"cloudevents-bare": {
			target: "instance", settings: `{"url":"URL","enabled":true,"events":[],"format":"cloudevents"}`,
			change: func(d *sink.Delivery) {
				d.Event = &event.Event{ID: "x", Name: "logout.instance", Instance: "sales", Time: at}
			},
		},
		"global": {
			configure: func(c *webhook.Config) { global(c); c.URL = "URL/all"; c.ByEvents = true }, target: "global",
		},
		"global-of-an-instance-with-its-own": {
			configure: func(c *webhook.Config) {
				global(c)
				c.URL, c.Secret, c.PreviousSecret, c.Headers = "URL/all", whsec, "old", map[string]string{"apikey": "k"}
			},
			target: "global", settings: `{"url":"https://own.example/hook","enabled":false,"events":[]}`,
		},
		"userinfo": {target: "instance", settings: `{"url":"USERURL/hook","enabled":true,"events":[]}`},
		"errors": {
			configure: func(c *webhook.Config) { c.Errors, c.ErrorsURL = true, "URL/errors" }, target: "errors",
			change: func(d *sink.Delivery) {
				d.Event.Name, d.Event.Data = "error", json.RawMessage(`{"error":"Not Found","status":404}`)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t, nil)
			here := strings.NewReplacer("USERURL", strings.Replace(r.URL, "//", "//user:pa%40ss@", 1), "URL", r.URL, "HOST", r.Listener.Addr().String())
			s := openIn(t, sink.Host{Logger: zerolog.Nop(), Envelope: c.codec}, func(cfg *webhook.Config) {
				if c.configure != nil {
					c.configure(cfg)
				}
				cfg.URL, cfg.ErrorsURL = here.Replace(cfg.URL), here.Replace(cfg.ErrorsURL)
			})
			d := delivery(c.target, json.RawMessage(here.Replace(c.settings)))
			if c.change != nil {
				c.change(d)
			}
			before := bytes.Clone(d.Event.Data)
			if err := s.Deliver(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(before, d.Event.Data) {
				t.Error("the event that others share was changed")
			}
			golden(t, name, strings.ReplaceAll(dump(r.requests()[0]), r.Listener.Addr().String(), "receiver:1"))
		})
	}
}

// dump writes a request with its header sorted.
func dump(r received) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s\nHost: %s\n", r.Method, r.RequestURI, r.Proto, r.Host)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, v := range r.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", r.body)
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	// The body holds the receiver's URL, whose length and signature differ from run to run.
	got = masked(got, "Content-Length: ", "Webhook-Signature: v1,")
	file := filepath.Join("testdata", name+".http")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the request changed; if that is meant, run go test -update\ngot\n%s\nwant\n%s", got, want)
	}
}

// masked hides the rest of lines that begin so, except for how many words it has.
func masked(text string, beginnings ...string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		for _, b := range beginnings {
			if rest, ok := strings.CutPrefix(line, b); ok {
				lines[i] = b + strings.TrimSpace(strings.Repeat("* ", len(strings.Fields(rest))))
			}
		}
	}
	return strings.Join(lines, "\n")
}

// verify checks a request as a receiver does that knows one secret. It shares no code with the sink.
func verify(h http.Header, body string, key []byte) bool {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", h.Get("webhook-id"), h.Get("webhook-timestamp"), body)
	want := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for signature := range strings.SplitSeq(h.Get("webhook-signature"), " ") {
		if version, value, _ := strings.Cut(signature, ","); version == "v1" && value == want {
			return true
		}
	}
	return false
}

func TestTheSignatureIsThatOfStandardWebhooks(t *testing.T) {
	newKey, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(whsec, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	r := newReceiver(t, nil)
	s := open(t)
	settings := settingsFor(r.URL, `,"gzip":true,"secrets":["`+whsec+`","old and plain"]`)
	if err := s.Deliver(t.Context(), delivery("instance", settings)); err != nil {
		t.Fatal(err)
	}
	req := r.requests()[0]
	body := unzip(t, req.body)
	if !verify(req.Header, body, newKey) || !verify(req.Header, body, []byte("old and plain")) {
		t.Errorf("a receiver with one of the two secrets refuses %q", req.Header.Get("webhook-signature"))
	}
	if verify(req.Header, body, []byte("another")) || verify(req.Header, body+" ", newKey) {
		t.Error("a wrong secret or body is accepted")
	}
	if req.Header.Get("webhook-timestamp") != fmt.Sprint(at.Unix()) || req.Header.Get("webhook-id") != "0192aa/0191bb" {
		t.Errorf("signed as %s at %s", req.Header.Get("webhook-id"), req.Header.Get("webhook-timestamp"))
	}
}

// The vector of the specification's libraries: it can be computed from its four parts.
func TestTheSignatureOfAKnownVector(t *testing.T) {
	h := http.Header{"Webhook-Id": {"msg_p5jXN8AQM9LWM0D4loKWxJek"}, "Webhook-Timestamp": {"1614265330"},
		"Webhook-Signature": {"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}}
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(whsec, "whsec_"))
	if !verify(h, `{"test": 2432232314}`, key) {
		t.Error("the test's own verification is not that of Standard Webhooks")
	}
}

func TestADotInAnIDCannotMoveWhatIsSigned(t *testing.T) {
	r := newReceiver(t, nil)
	d := delivery("instance", settingsFor(r.URL, `,"secrets":["k"]`))
	d.Event.ID = "a.b%c"
	if err := open(t).Deliver(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	req := r.requests()[0]
	if req.Header.Get("webhook-id") != "a%2Eb%25c/0191bb" || req.Header.Get("X-Event-Id") != "a.b%c" || !verify(req.Header, req.body, []byte("k")) {
		t.Errorf("sent %v", req.Header)
	}
}

func TestEachAttemptCarriesAFreshToken(t *testing.T) {
	r := newReceiver(t, nil)
	s := open(t)
	settings := settingsFor(r.URL, `,"headers":{"jwt_key":"secret","Authorization":"Basic x"}`)
	for _, later := range []time.Duration{0, time.Hour} {
		s.SetClock(at.Add(later))
		if err := s.Deliver(t.Context(), delivery("instance", settings)); err != nil {
			t.Fatal(err)
		}
	}
	for i, req := range r.requests() {
		if req.Header.Get("jwt_key") != "" {
			t.Error("the key itself was sent")
		}
		text, _ := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
		minted := at.Add(time.Duration(i) * time.Hour)
		var claims jwt.MapClaims
		token, err := jwt.ParseWithClaims(text, &claims, func(*jwt.Token) (any, error) { return []byte("secret"), nil },
			jwt.WithTimeFunc(func() time.Time { return minted.Add(9 * time.Minute) }), jwt.WithValidMethods([]string{"HS256"}))
		if err != nil || !token.Valid {
			t.Fatalf("attempt %d: %v", i+1, err)
		}
		want := jwt.MapClaims{"iat": float64(minted.Unix()), "exp": float64(minted.Unix() + 600), "app": "evolution", "action": "webhook"}
		if !maps.Equal(claims, want) {
			t.Errorf("attempt %d: claims %v, want %v", i+1, claims, want)
		}
	}
}

func TestACompressedBodyIsTheSameBody(t *testing.T) {
	r := newReceiver(t, nil)
	s := open(t)
	for range 2 { // the second uses a compressor again
		if err := s.Deliver(t.Context(), delivery("instance", settingsFor(r.URL, `,"gzip":true`))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Deliver(t.Context(), delivery("instance", settingsFor(r.URL, ""))); err != nil {
		t.Fatal(err)
	}
	seen := r.requests()
	for _, req := range seen[:2] {
		if req.Header.Get("Content-Encoding") != "gzip" || unzip(t, req.body) != seen[2].body {
			t.Errorf("%s, %s", req.Header.Get("Content-Encoding"), unzip(t, req.body))
		}
	}
	if seen[2].Header.Get("Content-Encoding") != "" {
		t.Error("a plain body says it is compressed")
	}
}

func unzip(t *testing.T, s string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTheEventIsAppendedToAnyURL(t *testing.T) {
	r := newReceiver(t, nil)
	for url, want := range map[string]string{
		"":                    "/messages-upsert",
		"/":                   "/messages-upsert",
		"/hook":               "/hook/messages-upsert",
		"/hook/":              "/hook/messages-upsert",
		"/hook?a=1&b=%2F":     "/hook/messages-upsert?a=1&b=%2F",
		"/a%2Fb/":             "/a%2Fb/messages-upsert",
		"/hook#top":           "/hook/messages-upsert",
		"/?x":                 "/messages-upsert?x",
		"/a/../b//c":          "/a/../b//c/messages-upsert",
		"/s%C3%A3o/#/x?y":     "/s%C3%A3o/messages-upsert",
		"/hook/?next=/other/": "/hook/messages-upsert?next=/other/",
		"/a[0]|b/":            "/a%5B0%5D%7Cb/messages-upsert",
	} {
		r.forget()
		if err := open(t).Deliver(t.Context(), delivery("instance", settingsFor(r.URL+url, `,"webhookByEvents":true`))); err != nil {
			t.Fatal(err)
		}
		if got := r.requests()[0].RequestURI; got != want {
			t.Errorf("%q: posted to %s, want %s", url, got, want)
		}
	}
	r.forget()
	d := delivery("instance", settingsFor(r.URL, `,"webhookByEvents":true`))
	d.Event.Name = "../admin?x=%2e"
	if err := open(t).Deliver(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got := r.requests()[0].RequestURI; got != "/--%2Fadmin%3Fx=%252e" {
		t.Errorf("a custom event's name left its segment: %s", got)
	}
}

// A receiver in Node answers 400 to a request line with any of these: every event would be a dead letter.
func TestWhatMayNotStandInAURLIsEncoded(t *testing.T) {
	r := newReceiver(t, nil)
	for url, want := range map[string]string{
		`/hook?name=São Paulo`:                     "", // refused: a space
		`/hook?name=São`:                           "/hook?name=S%C3%A3o",
		`/hook?q="<a>'&b={c}|d^e` + "`" + `[f]\\g`: "/hook?q=%22%3Ca%3E%27&b=%7Bc%7D%7Cd%5Ee%60%5Bf%5D%5Cg",
		`/hook?kept=%C3%a3%22&a=b+c/d?e:f@g`:       "/hook?kept=%C3%a3%22&a=b+c/d?e:f@g",
		`/hook?off=100%&x=%zz`:                     "/hook?off=100%25&x=%25zz",
		`/São/"x"`:                                 "/S%C3%A3o/%22x%22",
	} {
		r.forget()
		stored := json.RawMessage(`{"enabled":true,"events":[],"url":"` + strings.ReplaceAll(r.URL+url, `"`, `\"`) + `"}`)
		err := open(t).Deliver(t.Context(), delivery("instance", stored))
		if want == "" {
			wantText(t, err, "must not contain spaces")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := r.requests()[0].RequestURI; got != want {
			t.Errorf("%s: posted to %s, want %s", url, got, want)
		}
	}
}

func TestARedirectIsEncodedToo(t *testing.T) {
	r := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/" {
			w.Header().Set("Location", `/new?q="ã'`)
			w.WriteHeader(http.StatusPermanentRedirect)
		}
	})
	if err := open(t).Deliver(t.Context(), delivery("instance", settingsFor(r.URL+"/", ""))); err != nil {
		t.Fatal(err)
	}
	if got := r.requests()[1].RequestURI; got != "/new?q=%22%C3%A3%27" {
		t.Errorf("redirected to %s", got)
	}
}

func TestSecretsOfStandardWebhooksAreUnderstoodInEverySpelling(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(whsec, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	r := newReceiver(t, nil)
	encoded := strings.TrimPrefix(whsec, "whsec_")
	for _, secret := range []string{whsec, "v1," + whsec, "V1," + whsec, "WHSEC_" + encoded, "Whsec_" + encoded, "v1,WHSEC_" + encoded} {
		r.forget()
		if err := open(t).Deliver(t.Context(), delivery("instance", settingsFor(r.URL, `,"secrets":["`+secret+`"]`))); err != nil {
			t.Errorf("%s: %v", secret, err)
			continue
		}
		if req := r.requests()[0]; !verify(req.Header, req.body, key) {
			t.Errorf("%s signs with another key", secret)
		}
	}
	for _, secret := range []string{
		"v1,whsec_hunter2", "WHSEC_hunter2", "v1,hunter2", " " + whsec, whsec + " ", "v1, " + whsec, `'` + whsec + `'`, "v1," + whsec + "|v1," + whsec,
		"secret=" + whsec, "whsk_" + encoded, "WHPK_" + encoded, "v1a,whsk_" + encoded, "v1a," + whsec, "v1,",
	} {
		quoted, _ := json.Marshal(secret)
		if stored, err := normalize(`{"enabled":true,"url":"http://h","secret":`+string(quoted)+`}`, ""); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q is taken as plain text: stored %s, error %v", secret, stored, err)
		}
	}
}

// Hosts of the library may set a ServerURL that the HTTP door would refuse.
func TestTheSourceOfACloudEventIsAReferenceWhateverServerURLIs(t *testing.T) {
	r := newReceiver(t, nil)
	s := open(t)
	const segment = "/instance/sales"
	for serverURL, want := range map[string]string{
		"https://api.example/base/":                              "https://api.example/base" + segment,
		"https://user:hunter2@api.example:8443/?token=hunter2#x": "https://api.example:8443" + segment,
		"api.example:8080":                                       segment, "localhost": segment, "my server": segment, "http://[bad": segment, "https://": segment, "%": segment,
		"http://a|b.example": segment, `\\server\share`: segment, "mailto:ops": segment, "http://api.example:port": segment, "": segment,
	} {
		d := delivery("instance", settingsFor(r.URL, `,"format":"cloudevents"`))
		d.Event.ServerURL = serverURL
		r.forget()
		if err := s.Deliver(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		var got struct{ Source string }
		if err := json.Unmarshal([]byte(r.requests()[0].body), &got); err != nil || got.Source != want {
			t.Errorf("%q: source %q, want %q", serverURL, got.Source, want)
		}
	}
}
