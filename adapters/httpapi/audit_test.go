package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/core"
	"github.com/evosink/evosink/core/instances"
)

const previousKey = "PREVIOUS-KEY-0123456789"

// audited has the server log at info, and trust the peer of httptest's requests, 192.0.2.1, as a proxy.
func audited(_ *core.Options, o *httpapi.Options) {
	o.Logger = o.Logger.Level(zerolog.InfoLevel)
	o.Config.Server.TrustedProxies = []string{"192.0.2.0/24"}
}

// lastAudit takes the log, and returns the last line of the audit in it without time and words.
func (r *rig) lastAudit(t *testing.T) string {
	t.Helper()
	var last string
	for line := range strings.Lines(r.log.String()) {
		fields := map[string]any{}
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if fields["component"] != "audit" {
			continue
		}
		if fields["message"] == nil || fields["level"] == nil {
			t.Errorf("%s lacks words or a level", line)
		}
		for _, name := range []string{"component", "message", "level"} {
			delete(fields, name)
		}
		last = strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(fields), "map["), "]") // sorted by name
	}
	r.log.Reset()
	return last
}

func TestEveryChangeIsALineThatSaysWhatByWhichKeyAndFromWhere(t *testing.T) {
	r := newRig(t, audited)
	r.bury(t, 3)
	r.lastAudit(t)
	sales := "token token:" + instances.Sum(salesKey).Fingerprint()
	const token = "A-NEW-TOKEN-0123456789"
	for _, c := range []struct{ request, body, key, want string }{
		{"POST /instance/create", `{"instanceName":"new","token":"` + token + `","hook":{"enabled":true,"events":["CALL"]}}`, globalKey, "action:instance.create from:203.0.113.7 instance:new key:global sinks:[hook]"},
		{"POST /hook/set/sales", `{"enabled":true,"events":["CALL"]}`, salesKey, "action:settings.set from:203.0.113.7 instance:sales key:" + sales[:5] + " sink:hook" + sales[5:]},
		{"POST /hook/set/sales", `{"enabled":true,"events":["CALL"]}`, previousKey, "action:settings.set from:203.0.113.7 instance:sales key:previous sink:hook"},
		{"POST /hook/set/sales", `{"enabled":7}`, previousKey, ""},
		{"POST /hook/set/sales", `{"enabled":true}`, "wrong", ""},
		{"GET /hook/find/sales", "", globalKey, ""},
		{"POST /instance/token/new", "", token, "action:token.replace from:203.0.113.7 instance:new key:token new_token:FINGERPRINT token:" + instances.Sum(token).Fingerprint()},
		{"POST /events/fresh", `{"event":"messages.upsert"}`, globalKey, "action:instance.create by:event from:203.0.113.7 instance:fresh key:global"},
		{"POST /events/fresh", `{"event":"messages.upsert"}`, globalKey, ""},
		{"POST /ingest/evolution?apikey=" + previousKey, `{"event":"messages.upsert","instance":"ingested"}`, "", "action:instance.create by:event from:203.0.113.7 instance:ingested key:previous"},
		{"DELETE /instance/delete/new", "", globalKey, "action:instance.delete from:203.0.113.7 instance:new key:global"},
		{"POST /admin/queue/pause", `{"sink":"hook","instance":"sales","reason":"REASON"}`, globalKey, "action:queue.pause deliveries:0 from:203.0.113.7 instance:sales key:global sink:hook"},
		{"POST /admin/queue/resume", `{"sink":"hook"}`, globalKey, ""},
		{"POST /admin/queue/resume", `{"sink":"hook","instance":"sales"}`, previousKey, "action:queue.resume from:203.0.113.7 instance:sales key:previous sink:hook"},
		{"DELETE /admin/queue?all=true", "", globalKey, "action:queue.purge all:true deliveries:0 from:203.0.113.7 key:global"},
		{"POST /admin/dead/3/replay", "", globalKey, "action:dead.replay from:203.0.113.7 key:global letter:3 letters:1"},
		{"DELETE /admin/dead/2", "", globalKey, "action:dead.purge from:203.0.113.7 key:global letter:2 letters:1"},
		{"DELETE /admin/dead?reason=permanent&event=bad-000", "", globalKey, "action:dead.purge event:bad-000 from:203.0.113.7 key:global letters:1 reason:permanent"},
		{"DELETE /admin/queue", "", globalKey, ""},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		a := r.do(method, path, c.body, "apikey", c.key, "X-Forwarded-For", "198.51.100.9, 203.0.113.7")
		log := r.log.String()
		got := r.lastAudit(t)
		if in, ok := r.registry.Get("new"); ok {
			got = strings.ReplaceAll(got, "new_token:"+in.Token.Fingerprint(), "new_token:FINGERPRINT")
		}
		if got != c.want {
			t.Errorf("%s (%d): %s\n    want %s", c.request, a.Code, got, c.want)
		}
		for _, secret := range []string{globalKey, previousKey, salesKey, token, "CALL", "REASON"} {
			if strings.Contains(log, secret) {
				t.Errorf("%s: the log shows %s: %s", c.request, secret, log)
			}
		}
	}
	if a := r.admin("POST", "/admin/queue/pause", `{"sink":"live"}`); a.Code != 200 || !strings.Contains(r.lastAudit(t), "from:unknown, through 192.0.2.1") {
		t.Errorf("a trusted proxy that does not name its client: %d %s", a.Code, a.text)
	}
}
