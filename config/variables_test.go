package config_test

import (
	"strings"
	"testing"
)

func TestAMistypedVariableUnderAPrefixOfOursIsAWarning(t *testing.T) {
	for variable, want := range map[string]string{
		"WEBSOCKET_ENABLD=1":             "unknown variable WEBSOCKET_ENABLD (environment), did you mean WEBSOCKET_ENABLED?",
		"EVOSINK_SERVER_PROT=1":          "unknown variable EVOSINK_SERVER_PROT (environment), did you mean EVOSINK_SERVER_PORT?",
		"EVOSINK_NO_SUCH_THING_AT_ALL=1": "unknown variable EVOSINK_NO_SUCH_THING_AT_ALL (environment)",
		"PLUGIN_SLACK_URL=1":             "unknown variable PLUGIN_SLACK_URL (environment)",
		"WEBHOOK_FILES=true":             "",
		"PATH=/bin":                      "",
		"DATABASE_URL=x":                 "",
		"WEBSOCKETS=1":                   "",
		"SERVER_SERVICE_HOST=10.0.0.1":   "",
		"KAFKA_PORT=tcp://10.0.0.1:9092": "",
		"KAFKA_PORT_9092_TCP_ADDR=10.0":  "",
		"WEBSOCKET_ENABLD=":              "",
	} {
		t.Run(variable, func(t *testing.T) {
			_, c, err := load(t, source{env: []string{variable}, ok: []string{"WEBHOOK_FILES", "S3_*"}})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(c.Warnings(), "\n"); got != want {
				t.Errorf("warnings %q, want %q", got, want)
			}
		})
	}
	_, c, err := load(t, source{files: map[string]string{".env": "WEBSOCKET_ENABLD=1\n"}})
	if err != nil || len(c.Warnings()) != 1 || !strings.Contains(c.Warnings()[0], "(.env)") {
		t.Errorf("in .env: warnings %q, %v", c.Warnings(), err)
	}
}

func TestServiceLinksOfKubernetesAreNotTakenForSettings(t *testing.T) {
	for variable, want := range map[string]string{
		"SERVER_PORT=tcp://10.96.3.4:8080":              "SERVER_PORT=tcp://10.96.3.4:8080 is not used: Kubernetes has set it",
		"EVOSINK_SERVER_PORT=tcp://[fd00::1]:8080":      "EVOSINK_SERVER_PORT=tcp://[fd00::1]:8080 is not used",
		"WEBHOOK_EVENTS_PORT=tcp://10.96.3.4:80":        "WEBHOOK_EVENTS_PORT=tcp://10.96.3.4:80 is not used",
		"WEBHOOK_EVENTS_SERVICE_HOST=10.96.3.4":         "WEBHOOK_EVENTS_SERVICE_HOST=10.96.3.4 is not used",
		"SQS_GLOBAL_PORT_80_TCP_PROTO=tcp":              "SQS_GLOBAL_PORT_80_TCP_PROTO=tcp is not used",
		"EVOSINK_PORT=tcp://10.96.3.4:8080":             "EVOSINK_PORT=tcp://10.96.3.4:8080 is not used", // PORT has a key here
		"EVOSINK_X_PORT=tcp://10.96.3.4:8080":           "",
		"EVOSINK_SERVICE_HOST=10.96.3.4":                "",
		"EVOSINK_SERVICE_PORT=8080":                     "",
		"EVOSINK_SERVICE_PORT_HTTP=8080":                "",
		"EVOSINK_PORT_8080_TCP=tcp://10.96.3.4:8080":    "",
		"EVOSINK_PORT_8080_TCP_PROTO=tcp":               "",
		"EVOSINK_PORT_8080_TCP_PORT=8080":               "",
		"EVOSINK_PORT_8080_TCP_ADDR=10.96.3.4":          "",
		"EVOSINK_PORT_53_UDP=udp://10.96.3.4:53":        "",
		"WEBSOCKET_SERVICE_PORT_TYPO=tcp://10.96.3.4:1": "unknown variable WEBSOCKET_SERVICE_PORT_TYPO",
	} {
		a, c, err := load(t, source{env: []string{variable}})
		got := strings.Join(c.Warnings(), "\n")
		if err != nil || !strings.HasPrefix(got, want) || want == "" && got != "" || len(c.Warnings()) > 1 {
			t.Errorf("%s: %v, warnings %q, want %q", variable, err, got, want)
		}
		if a.Server.Port != defaults().Server.Port || len(a.Webhook.Events) != 1 || len(a.SQS.Events) != 0 {
			t.Errorf("%s: changed a setting: %+v", variable, a)
		}
	}
	a, _, err := load(t, source{env: []string{"EVOSINK_SERVER_PORT=tcp://10.96.3.4:8080", "SERVER_PORT=9000", "PLUGIN_CRM__SERVICE_PORT=8080"}})
	if err != nil || a.Server.Port != 9000 || a.Extras.Plugins["crm"].Config["service_port"] != "8080" {
		t.Errorf("port %d, plugins %v, %v: a link hides another name of its key, or a plugin's own key is taken for one", a.Server.Port, a.Extras.Plugins, err)
	}
	_, _, err = load(t, source{env: []string{"SERVER_PORT=eighty"}})
	wantError(t, err, "server.port")
}

func TestTheStrongerNameWinsAndADisagreementIsAWarning(t *testing.T) {
	a, c, err := load(t, source{env: []string{"WEBHOOK_URL=b", "WEBHOOK_GLOBAL_URL=a", "EVOSINK_WEBHOOK_URL=c"}})
	if err != nil || a.Webhook.URL != "a" {
		t.Fatalf("url %q, %v, want that of the first name", a.Webhook.URL, err)
	}
	wantOrigin(t, c, "sinks.webhook.url", "a", "environment WEBHOOK_GLOBAL_URL")
	if w := c.Warnings(); len(w) != 2 || !strings.Contains(w[0], "WEBHOOK_GLOBAL_URL and EVOSINK_WEBHOOK_URL both set sinks.webhook.url") {
		t.Errorf("warnings %q", w)
	}
	if _, c, _ = load(t, source{env: []string{"WEBHOOK_URL=a", "WEBHOOK_GLOBAL_URL=a"}}); len(c.Warnings()) != 0 {
		t.Errorf("two names that agree: %q", c.Warnings())
	}
	if a, _, _ = load(t, source{env: []string{"WEBHOOK_EVENTS_CALL=0", "EVOSINK_WEBHOOK_EVENTS_CALL=1"}}); !a.Webhook.Events["CALL"] {
		t.Error("the prefixed name of an entry did not win")
	}
	if a, _, _ = load(t, source{env: []string{"SERVER_PORT=1", "SERVER_PORT=2"}}); a.Server.Port != 2 {
		t.Errorf("port %d, want the later of two entries", a.Server.Port)
	}
}

func TestDotenvIsReadAsItsUsersWriteIt(t *testing.T) {
	for content, want := range map[string]string{
		"SERVER_URL=pa$WORD{1}":                       "pa$WORD{1}",
		`SERVER_URL="pa$WORD"`:                        "pa$WORD",
		"SERVER_URL=ab#cd # comment":                  "ab#cd",
		"SERVER_URL='a # b' # comment":                "a # b",
		"SERVER_URL = spaced out \r\n":                "spaced out",
		"  export SERVER_URL=x":                       "x",
		"# c\n\n\t\nSERVER_URL=x":                     "x",
		`SERVER_URL="a\nb\t\"c\" \d \\"`:              "a\nb\t\"c\" \\d \\",
		`SERVER_URL='a\nb'`:                           `a\nb`,
		"SERVER_URL='-----BEGIN\nline\n-----END'\n\n": "-----BEGIN\nline\n-----END",
		"SERVER_URL=`it's \"so\"`":                    `it's "so"`,
		"SERVER_URL=":                                 "",
		"SERVER_URL=''":                               "",
		"SERVER_URL= # nothing":                       "",
		"\ufeffSERVER_URL=bom":                        "bom",
		"A.b-c=1\nSERVER_URL=x=y":                     "x=y",
		"SERVER_URL=it's":                             "it's",
	} {
		t.Run(content, func(t *testing.T) {
			a, _ := mustLoad(t, source{files: map[string]string{".env": content}})
			if a.Server.URL != want {
				t.Errorf("got %q, want %q", a.Server.URL, want)
			}
		})
	}
	a, c, err := load(t, source{files: map[string]string{".env": "SERVER_URL=a\nSERVER_URL=b\n"}})
	if err != nil || a.Server.URL != "b" || len(c.Warnings()) != 1 || !strings.Contains(c.Warnings()[0], "SERVER_URL is there twice") {
		t.Errorf("twice: %q, %q, %v", a.Server.URL, c.Warnings(), err)
	}
}

func TestABrokenDotenvNamesItsLineButNotItsContent(t *testing.T) {
	for content, want := range map[string]string{
		"A=1\nhunter2\n":                ".env: line 2: want NAME=value",
		"A='x\ny'\n\n1A=hunter2":        ".env: line 4:",
		"A=1\nB=\"hunter2\nC=2":         ".env: line 2: the closing \" is missing",
		"A=1\r\n\r\nKEY='a' hunter2":    ".env: line 3: text after the closing '",
		"A KEY=hunter2":                 ".env: line 1:",
		"=hunter2":                      ".env: line 1:",
		strings.Repeat("A=1\n", 300000): ".env is larger than 1MiB",
	} {
		_, _, err := load(t, source{files: map[string]string{".env": content}})
		wantError(t, err, want)
		if err != nil && strings.Contains(err.Error(), hidden) {
			t.Errorf("error %q shows the content", err)
		}
	}
}
