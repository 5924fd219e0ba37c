package webhook_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/scope"
	"github.com/evosink/evosink/core/sink"
	"github.com/evosink/evosink/sinks/webhook"
)

// targets asks as the core does: scope first, then the sink.
func targets(t *testing.T, s *webhook.Sink, c *webhook.Config, e *event.Event, settings string) string {
	t.Helper()
	parsed, err := scope.Parse(json.RawMessage(settings))
	if err != nil {
		t.Fatal(err)
	}
	scopes := scope.Of(e, webhook.Spec.Name, webhook.Spec.Rule(c), parsed)
	var out []string
	for _, d := range scope.Targets(s, e, scopes, parsed.Raw) {
		out = append(out, fmt.Sprintf("%s:%s", d.Scope, d.Target))
	}
	return strings.Join(out, " ")
}

func TestWhereAnEventGoes(t *testing.T) {
	const single = `{"enabled":true,"url":"http://h","events":["MESSAGES_UPSERT"]}`
	const both = `{"enabled":true,"url":"http://h","events":["MESSAGES_UPSERT","CALL"],"urlEvents":["MESSAGES_UPSERT"],"webhooks":[` +
		`{"name":"a","url":"http://a","enabled":true,"events":["CALL"]},{"name":"b","url":"http://b","enabled":false},{"name":"c","url":"http://c","enabled":true}]}`
	for _, c := range []struct {
		name      string
		configure func(*webhook.Config)
		event     string
		settings  string
		want      string
	}{
		{"nothing set", nil, "messages.upsert", ``, ""},
		{"single", nil, "messages.upsert", single, "instance:instance"},
		{"single, another event", nil, "call", single, ""},
		{"list and single", nil, "messages.upsert", both, "instance:instance instance:list/c"},
		{"list and single, another event", nil, "call", both, "instance:list/a instance:list/c"},
		{"global without events", func(c *webhook.Config) { c.GlobalEnabled = true }, "messages.upsert", ``, ""},
		{"global events without the switch", func(c *webhook.Config) { c.Events = sink.Switches{"MESSAGES_UPSERT": true} }, "messages.upsert", ``, ""},
		{"global", func(c *webhook.Config) {
			c.GlobalEnabled, c.Events = true, sink.Switches{"MESSAGES_UPSERT": true, "CALL": false}
		}, "messages.upsert", ``, "global:global"},
		{"global, an event that is off", func(c *webhook.Config) {
			c.GlobalEnabled, c.Events = true, sink.Switches{"MESSAGES_UPSERT": true, "CALL": false}
		}, "call", ``, ""},
		{"global and instance", func(c *webhook.Config) { c.GlobalEnabled, c.Events = true, sink.Switches{"ALL": true} }, "messages.upsert", single, "global:global instance:instance"},
		{"group update in Evolution's other spelling", func(c *webhook.Config) { c.GlobalEnabled, c.Events = true, sink.Switches{"GROUP_UPDATE": true} }, "groups.update", ``, "global:global"},
		{"errors", func(c *webhook.Config) { c.Errors, c.ErrorsURL = true, "http://e" }, "error", ``, "global:errors"},
		{"errors get nothing else", func(c *webhook.Config) { c.Errors, c.ErrorsURL = true, "http://e" }, "call", ``, ""},
		{"errors do not open a global webhook without events", func(c *webhook.Config) { c.Errors, c.ErrorsURL, c.GlobalEnabled = true, "http://e", true }, "error", ``, "global:errors"},
		{"errors and all", func(c *webhook.Config) {
			c.Errors, c.ErrorsURL, c.GlobalEnabled, c.Events = true, "http://e", true, sink.Switches{"ALL": true}
		}, "error", ``, "global:global global:errors"},
	} {
		config := webhook.Defaults()
		s := open(t, func(cfg *webhook.Config) {
			cfg.URL = "http://g"
			if c.configure != nil {
				c.configure(cfg)
			}
			config = *cfg
		})
		e := message("x")
		e.Name = c.event
		if got := targets(t, s, &config, e, c.settings); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestUnreadableSettingsDoNotSwallowEvents(t *testing.T) {
	got := open(t).Targets(message("x"), []sink.Scope{sink.Instance}, json.RawMessage(`{"url":7}`))
	if len(got) != 1 || got[0].Target != "instance" {
		t.Errorf("got %v; the delivery to it says what is wrong", got)
	}
}

func TestFilters(t *testing.T) {
	const (
		own       = `{"key":{"remoteJid":"5511@s.whatsapp.net","fromMe":true}}`
		theirs    = `{"key":{"remoteJid":"5511@s.whatsapp.net","remoteJidAlt":"118@lid","fromMe":false}}`
		group     = `{"key":{"remoteJid":"120363@g.us","fromMe":false}}`
		status    = `{"key":{"remoteJid":"status@broadcast","fromMe":false}}`
		update    = `{"keyId":"3EB0","remoteJid":"5511@s.whatsapp.net","fromMe":true,"status":"READ"}`
		presence  = `{"id":"120363@g.us","presences":{}}`
		call      = `{"chatId":"5511@s.whatsapp.net","from":"5511@s.whatsapp.net","id":"A1"}`
		labels    = `{"instance":"sales","chatId":"5511@s.whatsapp.net","labelId":"3"}`
		goMessage = `{"Info":{"Chat":"120363@g.us","IsFromMe":true,"IsGroup":true,"ID":"3EB0"},"Message":{}}`
		goReceipt = `{"Chat":"5511@s.whatsapp.net","IsFromMe":false,"Type":"read"}`
		goGroup   = `{"JID":"120363@g.us","Name":{"Name":"New"}}`
		state     = `{"instance":"sales","state":"open"}`
		deleted   = `["120363@g.us","5511@s.whatsapp.net"]`
		chats     = `[{"remoteJid":"120363@g.us"},{"id":"cmgz","name":"Ana"}]`
		groups    = `[{"id":"120363@g.us"}]`
	)
	for _, c := range []struct{ filters, passes, drops string }{
		{`{}`, join(own, theirs, group, status, state, `null`, ``, `7`, `"x"`, `[]`, `{"key":7,"chat":{}}`), ``},
		{`{"fromMe":false}`, join(theirs, group, status, presence, call, goReceipt, state, deleted, `null`), join(own, update, goMessage)},
		{`{"fromMe":"only"}`, join(own, update, goMessage, state, presence), join(theirs, group, status, goReceipt)},
		{`{"fromMe":true}`, join(own, theirs), ``},
		{`{"group":false}`, join(own, theirs, status, update, call, goReceipt, state, deleted, `[]`), join(group, presence, goMessage, goGroup, groups)},
		{`{"group":"only"}`, join(group, presence, goMessage, goGroup, groups, chats, state), join(own, theirs, status, call, labels)},
		{`{"statusBroadcast":false}`, join(own, group, state), join(status)},
		{`{"statusBroadcast":"only"}`, join(status, state), join(own, group)},
		{`{"chats":{"allow":["5511"]}}`, join(own, theirs, update, call, labels, goReceipt, state, deleted), join(group, status, presence)},
		{`{"chats":{"allow":["118@lid"]}}`, join(theirs, state), join(own, group)},
		{`{"chats":{"deny":["118@lid"]}}`, join(own, group, state), join(theirs)},
		{`{"chats":{"deny":["@g.us","@broadcast"]}}`, join(own, theirs, state, deleted), join(group, status, presence, goGroup)},
		{`{"chats":{"allow":["5511","120363"],"deny":["@g.us"]}}`, join(own, state), join(group, status)},
	} {
		s := open(t)
		settings := json.RawMessage(`{"enabled":true,"url":"http://h","events":[],"filters":` + c.filters + `}`)
		check := func(data string, want int) {
			e := message("x")
			e.Data = json.RawMessage(data)
			if got := s.Targets(e, []sink.Scope{sink.Instance}, settings); len(got) != want {
				t.Errorf("%s: %s has %d targets, want %d", c.filters, data, len(got), want)
			}
		}
		for _, data := range strings.Split(c.passes, "\n") {
			check(data, 1)
		}
		if c.drops != "" {
			for _, data := range strings.Split(c.drops, "\n") {
				check(data, 0)
			}
		}
	}
}

func join(s ...string) string { return strings.Join(s, "\n") }

func TestOrder(t *testing.T) {
	s := open(t)
	lane := func(order, id, chat string) sink.Target {
		e := message(id)
		e.Data = json.RawMessage(fmt.Sprintf(`{"key":{"remoteJid":%q}}`, chat))
		settings := json.RawMessage(`{"enabled":true,"url":"http://h","events":[],"order":"` + order + `"}`)
		got := s.Targets(e, []sink.Scope{sink.Instance}, settings)
		if len(got) != 1 {
			t.Fatalf("%d targets", len(got))
		}
		if a := s.Address(sink.Instance, got[0].Target, "sales"); a != "sales/instance" {
			t.Errorf("%s is at %s: its lanes must share one breaker", got[0].Target, a)
		}
		return got[0].Target
	}
	lanes := map[string]map[sink.Target]bool{"instance": {}, "chat": {}, "none": {}}
	for i := range 200 {
		chat := fmt.Sprintf("%d@s.whatsapp.net", i%100)
		for order := range lanes {
			lanes[order][lane(order, fmt.Sprint("id", i), chat)] = true
		}
		if lane("chat", "one", chat) != lane("chat", "two", chat) {
			t.Errorf("chat %s has two lanes", chat)
		}
	}
	if len(lanes["instance"]) != 1 || len(lanes["chat"]) != 16 || len(lanes["none"]) != 16 {
		t.Errorf("%d, %d and %d lanes, want 1, 16 and 16", len(lanes["instance"]), len(lanes["chat"]), len(lanes["none"]))
	}
	if got := lane("chat", "x", ""); got != "instance" {
		t.Errorf("an event of no chat is in lane %s", got)
	}
	r := newReceiver(t, nil)
	if err := s.Deliver(t.Context(), delivery(lane("none", "x", ""), settingsFor(r.URL, ""))); err != nil {
		t.Error(err)
	}
}

func TestAddressesOfWebhooks(t *testing.T) {
	s := open(t)
	if a, b := s.Address(sink.Instance, "instance", "a"), s.Address(sink.Instance, "instance", "b"); a == b {
		t.Error("two instances share a breaker")
	}
	if a, b := s.Address(sink.Global, "global", "a"), s.Address(sink.Global, "global", "b"); a != b {
		t.Error("the global webhook has a breaker per instance")
	}
}
