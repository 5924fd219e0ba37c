package sqlite_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/adapters/sqlite"
	"github.com/evosink/evosink/core/bus"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink"
)

// oldFile makes a file of an older schema version from the script in testdata.
func oldFile(t *testing.T, version int) sqlite.Config {
	t.Helper()
	script, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("schema-%d.sql", version)))
	if err != nil {
		t.Fatal(err)
	}
	c := newConfig(t)
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o700); err != nil {
		t.Fatal(err)
	}
	edit(t, c.Path, string(script))
	return c
}

// Whatever version wrote a file, everything that was in it is there after an upgrade, and after the next start too.
func TestAFileOfAnyOlderSchemaKeepsWhatIsInIt(t *testing.T) {
	scripts, err := filepath.Glob("testdata/schema-*.sql")
	if err != nil || len(scripts) < 3 {
		t.Fatalf("testdata has %q, %v; there is one for every version that was released", scripts, err)
	}
	for version := 1; version <= len(scripts); version++ {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			c := oldFile(t, version)
			for range 2 {
				db, err := sqlite.Open(t.Context(), c, nop)
				if err != nil {
					t.Fatal(err)
				}
				wantOldInstances(t, db, version)
				wantOldLog(t, db, version)
				if version >= 2 {
					wantOldQueue(t, db.Queue())
				}
				closeDB(t, db)
			}
			wantOldCursor(t, open(t, c))
		})
	}
}

func wantOldInstances(t *testing.T, db *sqlite.DB, version int) {
	t.Helper()
	registry, err := instances.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	var names []string
	for _, in := range registry.All() {
		names = append(names, in.Name)
		if in.ID != "id-"+in.Name || in.Integration != "WHATSAPP-BAILEYS" || in.Version != 2 || in.CreatedAt.Before(at) || in.UpdatedAt.Before(at) {
			t.Errorf("%s is %+v", in.Name, in)
		}
	}
	if want := []string{"no token", "sales", "young", "ältest"}; !slices.Equal(names, want) {
		t.Errorf("the instances are %q, want %q", names, want)
	}
	sales, _ := registry.Get("sales")
	hook, socket := string(sales.Settings["webhook"].Value), string(sales.Settings["websocket"].Value)
	var address struct{ URL string }
	if err := json.Unmarshal([]byte(hook), &address); err != nil || address.URL != "https://hook.example/?a=<b>&c='d'" {
		t.Errorf("webhook settings %s, %v", hook, err)
	}
	if socket != `{"enabled":true,"events":["CALL"]}` || sales.Settings["webhook"].ID != "s2" || !sales.Settings["websocket"].CreatedAt.Equal(at) {
		t.Errorf("settings %+v", sales.Settings)
	}
	for key, owner := range map[string]string{"sales token": "sales", "former token": "", "gone token": "", "shared token": "ältest"} {
		if _, name, _ := registry.Authenticate(key); name != owner {
			t.Errorf("%q opens %q, want %q", key, name, owner)
		}
	}
	digest, generated, err := instances.GlobalKey(t.Context(), db, "")
	if err != nil || generated != "" || digest != instances.Sum("global key") {
		t.Errorf("the global key is %s, generated %q, %v", digest, generated, err)
	}
	if version >= 3 && sales.Birth != 1 || version < 3 && sales.Birth != 0 {
		t.Errorf("sales was born at %d", sales.Birth)
	}
}

func wantOldLog(t *testing.T, db *sqlite.DB, version int) {
	t.Helper()
	replay := func(after, instance string) (ids []string, err error) {
		_, err = db.Replay(t.Context(), after, instance, func(e *event.Event) error {
			if ids = append(ids, e.ID); e.Sender != "5511@s.whatsapp.net" || string(e.Data) != `{"text":"olá `+e.ID+`"}` || len(e.Sinks) != 2 {
				t.Errorf("event %+v", e)
			}
			return nil
		})
		return ids, err
	}
	if ids, err := replay("e1", ""); err != nil || !slices.Equal(ids, []string{"e2", "e3", "g1", "g2"}) {
		t.Errorf("the log replays %q, %v", ids, err)
	}
	if ids, err := replay("e2", "sales"); err != nil || !slices.Equal(ids, []string{"e3"}) {
		t.Errorf("of sales it replays %q, %v", ids, err)
	}
	for id, instance := range map[string]string{"e1": "sales", "g1": "gone"} { // of former instances, which version 3 knows of
		if _, err := replay(id, instance); errors.Is(err, sink.ErrExpired) != (version >= 3) {
			t.Errorf("replay behind %s of %s: %v", id, instance, err)
		}
	}
}

func wantOldQueue(t *testing.T, q queue.Store) {
	t.Helper()
	hook := queue.Lane{Sink: "webhook", Target: "instance", Instance: "sales"}
	lanes, err := q.Lanes(t.Context())
	waiting := map[queue.Lane]int{}
	for _, l := range lanes {
		if waiting[l.Lane] = l.Waiting; l.Lane == hook && (l.Head.Attempts != 3 || l.Head.Error != "503 Service Unavailable") {
			t.Errorf("the head's attempts are %+v", l.Head)
		}
	}
	if err != nil || len(waiting) != 2 || waiting[hook] != 2 || waiting[queue.Lane{Sink: "rabbitmq", Target: "global", Instance: "sales"}] != 1 {
		t.Errorf("lanes %v, %v", waiting, err)
	}
	items, err := q.Window(t.Context(), hook, 0, 1<<40, 10, 1<<20)
	var ids []string
	for _, item := range items {
		if ids = append(ids, item.Event.ID); string(item.Event.Data) != `{"text":"olá `+item.Event.ID+`"}` || item.Scope != sink.Instance {
			t.Errorf("waiting: %+v of %+v", item, item.Event)
		}
	}
	if err != nil || !slices.Equal(ids, []string{"q2", "q3"}) {
		t.Errorf("%q wait, %v", ids, err)
	}
	letter, err := q.Letter(t.Context(), 1)
	if err != nil || letter.EventID != "q1" || letter.Lane != hook || letter.Reason != queue.Attempts || letter.Attempts != 3 ||
		letter.Event == nil || string(letter.Event.Data) != `{"text":"olá q1"}` {
		t.Errorf("the dead letter is %+v, %v", letter, err)
	}
	attempts, err := q.Attempts(t.Context(), "q2")
	if err != nil || len(attempts) != 1 || attempts[0].Took != 1500*time.Millisecond || attempts[0].Status != "503" || string(attempts[0].Head) != "<html>" {
		t.Errorf("attempts %+v, %v", attempts, err)
	}
	pauses, err := q.Pauses(t.Context())
	if err != nil || len(pauses) != 1 || pauses[0].Sink != "rabbitmq" || pauses[0].Reason != "maintenance" {
		t.Errorf("pauses %+v, %v", pauses, err)
	}
}

// wantOldCursor checks that the group which has acked e1 goes on behind it.
func wantOldCursor(t *testing.T, db *sqlite.DB) {
	t.Helper()
	messages, err := db.Group("audit").Subscribe(t.Context(), bus.Topic(bus.Shard("sales", db.Shards())))
	if err != nil {
		t.Fatal(err)
	}
	m := <-messages
	if m.Ack(); m.UUID != "e2" {
		t.Errorf("the group goes on with %s, want e2", m.UUID)
	}
}

// Two nodes of an older version could give one token to two instances. The operator is told which instance lost it.
func TestAnUpgradeTellsOfTokensThatTwoInstancesHad(t *testing.T) {
	for version := 1; version <= 3; version++ {
		c := oldFile(t, version)
		var log bytes.Buffer
		db, err := sqlite.Open(t.Context(), c, zerolog.New(&log))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), `"instances":["young"]`) || !strings.Contains(log.String(), "POST /instance/token/") {
			t.Errorf("version %d: the log does not tell: %s", version, &log)
		}
		registry, err := instances.Open(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := registry.SetToken(t.Context(), "young", "shared token"); !errors.Is(err, instances.ErrToken) {
			t.Errorf("the shared token was given away again: %v", err)
		}
		if _, err := registry.SetToken(t.Context(), "young", "its own"); err != nil {
			t.Error(err)
		}
		if in, err := registry.Create(t.Context(), instances.Instance{Name: "new"}, ""); err != nil || in.Birth != 5 || in.Version <= 2 {
			t.Errorf("a new instance is %+v, %v", in, err)
		}
		closeDB(t, db)
		log.Reset()
		db, err = sqlite.Open(t.Context(), c, zerolog.New(&log))
		if err != nil {
			t.Fatal(err)
		}
		closeDB(t, db)
		if strings.Contains(log.String(), "token") {
			t.Errorf("it is told again: %s", &log)
		}
	}
}

// A record that cannot be read does not keep the file from being upgraded; it is told where it always was.
func TestAnUpgradePassesByADamagedRecord(t *testing.T) {
	c := oldFile(t, 3)
	edit(t, c.Path, "UPDATE instances SET record = '{' WHERE name = 'young'")
	db := open(t, c)
	if _, _, err := db.Instances(t.Context()); !errors.Is(err, sqlite.ErrDamaged) {
		t.Errorf("Instances: %v, want ErrDamaged", err)
	}
	wantOldQueue(t, db.Queue())
}
