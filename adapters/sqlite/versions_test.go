package sqlite_test

import (
	"bytes"
	"database/sql"
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

// fileOfVersion makes a file of an older schema version from the script in testdata.
func fileOfVersion(t *testing.T, version int) sqlite.Config {
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
	var current int
	c := newConfig(t)
	closeDB(t, open(t, c))
	query(t, c, "PRAGMA user_version", &current)
	for version := 1; version < current; version++ { // testdata has a script for each
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			c := fileOfVersion(t, version)
			for range 2 {
				db, err := sqlite.Open(t.Context(), c, nop)
				if err != nil {
					t.Fatal(err)
				}
				wantInstancesOfVersion(t, db, version)
				wantLogOfVersion(t, db, version)
				closeDB(t, db)
				if version >= 2 {
					wantQueueOfVersion(t, c)
				}
			}
			db := open(t, c)
			wantCursorOfVersion(t, db)
			wantMarksOfVersion(t, db)
		})
	}
}

func wantInstancesOfVersion(t *testing.T, db *sqlite.DB, version int) {
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

func wantLogOfVersion(t *testing.T, db *sqlite.DB, version int) {
	t.Helper()
	replay := func(after, instance string) (ids []string, err error) {
		position, err := db.Find(t.Context(), after, instance)
		if err != nil {
			return nil, err
		}
		_, err = db.Replay(t.Context(), position, instance, func(_ int64, e *event.Event) error {
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

// wantQueueOfVersion reads the tables of the queue in a closed file. What the queue makes of them is its own tests'
// matter.
func wantQueueOfVersion(t *testing.T, c sqlite.Config) {
	t.Helper()
	db, err := sql.Open("sqlite", c.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const refused = "503 Service Unavailable"
	for query, want := range map[string]string{
		"SELECT group_concat(id || ' ' || instance || ' ' || payload, '; ') FROM (SELECT * FROM queue_events ORDER BY seq)":                                               `q1 sales {"text":"olá q1"}; q2 sales {"text":"olá q2"}; q3 sales {"text":"olá q3"}`,
		"SELECT group_concat(seq || ' ' || sink || ' ' || target || ' ' || scope, '; ') FROM (SELECT * FROM queue_deliveries JOIN queue_lanes ON id = lane ORDER BY seq)": "1 rabbitmq global 2; 2 webhook instance 2; 3 webhook instance 2",
		"SELECT instance || ' ' || tried || ' ' || attempts || ' ' || first || ' ' || error FROM queue_lanes WHERE sink = 'webhook'":                                      "sales 2 3 1793534400000 " + refused,
		"SELECT event || ' ' || sink || ' ' || target || ' ' || instance || ' ' || reason || ' ' || attempts || ' ' || error || ' ' || payload FROM queue_letters":        `q1 webhook instance sales attempts 3 ` + refused + ` {"text":"olá q1"}`,
		"SELECT group_concat(event || ' ' || number || ' ' || took || ' ' || status || ' ' || head, '; ') FROM (SELECT * FROM queue_attempts ORDER BY id)":                "q1 3 1500000000 503 <html>; q2 3 1500000000 503 <html>",
		"SELECT count(*) FROM (SELECT size FROM queue_deliveries UNION ALL SELECT size FROM queue_letters) WHERE size > 512":                                              "4", // see queue.Size
		"SELECT sink || ' ' || reason || ' ' || at FROM queue_pauses":                                                                                                     "rabbitmq maintenance 1793534400000",
	} {
		var got string
		if err := db.QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s\ngives %q, %v\nwant  %q", query, got, err, want)
		}
	}
}

// wantCursorOfVersion checks that the group which has acked e1 goes on behind it.
func wantCursorOfVersion(t *testing.T, db *sqlite.DB) {
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

// wantMarksOfVersion checks that the file has no marks, and takes them.
func wantMarksOfVersion(t *testing.T, db *sqlite.DB) {
	t.Helper()
	l, m := shardOf(db, "sales", 2, "4")
	marks := func() []queue.Mark {
		marks, err := db.Queue().Marks(t.Context(), l.Shard)
		if err != nil {
			t.Fatal(err)
		}
		return marks
	}
	if got := marks(); len(got) != 0 {
		t.Errorf("the file has marks %+v", got)
	}
	if err := db.Queue().Checkpoint(t.Context(), []bus.Lease{l}, m); err != nil {
		t.Fatal(err)
	}
	if got := marks(); len(got) != 1 || got[0].Cursor != m.Cursor || string(got[0].Done) != "4" {
		t.Errorf("the file has marks %+v", got)
	}
}

// Two nodes of an older version could give one token to two instances. The operator is told which instance lost it.
func TestAnUpgradeTellsOfTokensThatTwoInstancesHad(t *testing.T) {
	for version := 1; version <= 3; version++ {
		c := fileOfVersion(t, version)
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
	c := fileOfVersion(t, 3)
	edit(t, c.Path, "UPDATE instances SET record = '{' WHERE name = 'young'")
	db, err := sqlite.Open(t.Context(), c, nop)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := db.Instances(t.Context()); !errors.Is(err, sqlite.ErrDamaged) {
		t.Errorf("Instances: %v, want ErrDamaged", err)
	}
	closeDB(t, db)
	wantQueueOfVersion(t, c)
}
