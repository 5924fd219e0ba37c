package webhook_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

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

func TestWebhooksOfAllInstancesAtOneHostHaveOne(t *testing.T) {
	s := open(t)
	host := func(url string) string {
		return s.Host(delivery("instance", json.RawMessage(`{"enabled":true,"url":"`+url+`"}`)))
	}
	if a, b := host("https://Hooks.example/a"), host("https://hooks.example:443/b"); a != b || a == "" {
		t.Errorf("hosts are %q and %q, want the same", a, b)
	}
	for _, other := range []string{"http://hooks.example/a", "https://hooks.example:8443/a", "https://a.hooks.example/a"} {
		if host(other) == host("https://hooks.example/a") {
			t.Errorf("%s has the host of another", other)
		}
	}
	if got := s.Host(delivery("instance", json.RawMessage(`{"enabled":false,"url":"https://hooks.example"}`))); got != "" {
		t.Errorf("a webhook that is off has host %q: nothing connects there", got)
	}
}

// list is a JSON list of n chats, of which no two are the same.
func list(n int, format string) string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return "[" + strings.Join(out, ",") + "]"
}

func TestWhatAFilterCostsDoesNotGrowWithItsLists(t *testing.T) {
	s := open(t)
	e := message("x")
	e.Data = json.RawMessage(list(4000, `"5511%08d@s.whatsapp.net"`)) // 120 KB, as in chats.delete
	cost := func(entries int) time.Duration {
		lists := list(entries, `"4911%08d@s.whatsapp.net"`)
		settings := json.RawMessage(`{"enabled":true,"url":"http://h","events":[],"filters":{"chats":{"allow":` + lists + `,"deny":` + lists + `}}}`)
		s.Targets(e, []sink.Scope{sink.Instance}, settings) // reads the settings
		least := time.Hour
		for range 5 {
			began := time.Now()
			s.Targets(e, []sink.Scope{sink.Instance}, settings)
			least = min(least, time.Since(began))
		}
		return least
	}
	if one, thousand := cost(1), cost(1000); thousand > 30*one {
		t.Errorf("lists of 1,000 entries cost %d times what lists of one cost", thousand/one)
	}
}

func TestWhatAFilterCostsDoesNotGrowWithTheEvent(t *testing.T) {
	s := open(t)
	settings := json.RawMessage(`{"enabled":true,"url":"http://h","events":[],"filters":{"chats":{"allow":` + list(1000, `"4911%08d@s.whatsapp.net"`) + `}}}`)
	cost := func(elements int) time.Duration {
		e := message("x")
		e.Data = json.RawMessage(list(elements, `{"id":"5511%08d@s.whatsapp.net","name":"x"}`))
		least := time.Hour
		for range 5 {
			began := time.Now()
			s.Targets(e, []sink.Scope{sink.Instance}, settings)
			least = min(least, time.Since(began))
		}
		return least
	}
	if few, many := cost(1000), cost(50_000); many > 20*few {
		t.Errorf("an event of 50 times the elements costs %d times as much", many/few)
	}
}

func TestWhatFiltersDoNotLookAt(t *testing.T) {
	s := open(t)
	const group, own = `"120363@g.us"`, `"5511@s.whatsapp.net"`
	groups := func(n int) string { return strings.Repeat(group+",", n) }
	padding := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	settings := json.RawMessage(`{"enabled":true,"url":"http://h","events":[],"filters":{"group":false}}`)
	for name, c := range map[string]struct {
		data string
		want int
	}{
		"500 groups":                          {"[" + groups(499) + group + "]", 0},
		"a chat among 500":                    {"[" + groups(499) + own + "]", 1},
		"more than 500 pass":                  {"[" + groups(500) + group + "]", 1},
		"elements of 256 KiB":                 {`[` + groups(2) + padding(250<<10) + `]`, 1},
		"elements behind 256 KiB pass":        {`[` + groups(2) + padding(300<<10) + `,` + group + `]`, 1},
		"a group with media behind it":        {`{"key":{"remoteJid":` + group + `},"message":{"base64":` + padding(4<<20) + `}}`, 0},
		"a group behind media of 200 KiB":     {`{"message":{"base64":` + padding(200<<10) + `},"key":{"remoteJid":` + group + `}}`, 0},
		"behind 256 KiB, it is about no chat": {`{"message":{"base64":` + padding(300<<10) + `},"key":{"remoteJid":` + group + `}}`, 1},
		"a key with escapes":                  {`{"\u006bey":{"remoteJid":` + group + `}}`, 0},
		"a chat with escapes":                 {`{"key":{"remoteJid":"120363\u0040g.us"}}`, 0},
	} {
		e := message("x")
		e.Data = json.RawMessage(c.data)
		if got := s.Targets(e, []sink.Scope{sink.Instance}, settings); len(got) != c.want {
			t.Errorf("%s: %d targets, want %d", name, len(got), c.want)
		}
	}
}

func TestListsOfChatsAreBounded(t *testing.T) {
	chats := list(1000, `"%d"`)
	hook := func(i int) string {
		return fmt.Sprintf(`{"name":"n%d","url":"http://h","filters":{"chats":{"allow":%s}}}`, i, chats)
	}
	var ten []string
	for i := range 10 {
		ten = append(ten, hook(i))
	}
	for block, says := range map[string]string{
		`{"enabled":true,"url":"http://h","filters":{"chats":{"deny":` + list(1001, `"%d"`) + `}}}`: "1001 entries, at most 1000",
		`{"enabled":true,"webhooks":[` + strings.Join(append(ten, hook(10)), ",") + `]}`:            "11000 entries in all, at most 10000",
		`{"enabled":true,"webhooks":[` + strings.Join(ten, ",") + `]}`:                              "",
	} {
		_, err := normalize(block, "")
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%.60s: %v, want %q", block, err, says)
		}
	}
}

func TestACacheThatIsFullForgetsSomeNotAll(t *testing.T) {
	s := open(t)
	e := message("x")
	for i := range 5000 { // more than it holds
		settings := json.RawMessage(fmt.Sprintf(`{"enabled":true,"url":"http://h/%d","events":[]}`, i))
		if got := s.Targets(e, []sink.Scope{sink.Instance}, settings); len(got) != 1 {
			t.Fatalf("settings %d have %d targets", i, len(got))
		}
	}
	if n := s.Cached(); n < 4000 || n > 4096 {
		t.Errorf("%d settings are kept, want up to 4096", n)
	}
}
