package instances_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
)

const globalKey = "the-global-key"

func newStore(t *testing.T) instances.Store {
	t.Helper()
	e, err := memory.New(memory.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func open(t *testing.T, s instances.Store) *instances.Registry {
	t.Helper()
	r, err := instances.Open(t.Context(), s, instances.Sum(globalKey))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func create(t *testing.T, r *instances.Registry, name, token string) instances.Instance {
	t.Helper()
	in, err := r.Create(t.Context(), instances.Instance{Name: name}, token)
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	return in
}

func wantError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// wantKey checks what a key opens: the instance of that name, "" nothing, "*" everything.
func wantKey(t *testing.T, r *instances.Registry, key, want string) {
	t.Helper()
	global, name, ok := r.Authenticate(key)
	got := name
	if global {
		got = "*"
	}
	if got != want || ok != (want != "") {
		t.Fatalf("key %q belongs to %q (ok %v), want %q", key, got, ok, want)
	}
}

func TestACreatedInstanceIsThereAtOnceAndAfterOpeningAgain(t *testing.T) {
	s := newStore(t)
	r := open(t, s)
	in := create(t, r, "a", "token-a")
	if in.ID == "" || in.Version == 0 || in.CreatedAt.IsZero() || in.UpdatedAt.Before(in.CreatedAt) {
		t.Fatalf("the instance is incomplete: %+v", in)
	}
	for _, r := range []*instances.Registry{r, open(t, s)} {
		got, ok := r.Get("a")
		if !ok || !reflect.DeepEqual(got, in) {
			t.Fatalf("got %+v, want %+v", got, in)
		}
		wantKey(t, r, "token-a", "a")
	}
}

func TestCreateRefusesWhatCannotBe(t *testing.T) {
	r := open(t, newStore(t))
	create(t, r, "a", "token-a")
	for _, c := range []struct {
		name, token string
		want        error
	}{
		{"a", "token-b", instances.ErrExists},
		{"b", "token-a", instances.ErrToken},
		{"b", globalKey, instances.ErrToken},
	} {
		_, err := r.Create(t.Context(), instances.Instance{Name: c.name}, c.token)
		wantError(t, c.name+" with "+c.token, err, c.want)
	}
	if _, err := r.Create(t.Context(), instances.Instance{Name: "a/b"}, ""); err == nil {
		t.Fatal("a name with a slash was taken")
	}
	if _, ok := r.Get("b"); ok {
		t.Fatal("a refused instance exists")
	}
}

func TestInstancesMayShareHavingNoToken(t *testing.T) {
	r := open(t, newStore(t))
	create(t, r, "a", "")
	create(t, r, "b", "")
	wantKey(t, r, "", "")
}

func TestAKeyOpensWhatIsItsOwn(t *testing.T) {
	r := open(t, newStore(t))
	create(t, r, "a", "token-a")
	create(t, r, "b", "token-b")
	wantKey(t, r, "token-a", "a")
	wantKey(t, r, "token-b", "b")
	wantKey(t, r, globalKey, "*")
	wantKey(t, r, "token-c", "")
	wantKey(t, r, "", "")
	wantKey(t, r, string(instances.Sum("token-a")), "") // what a stolen file shows
}

func TestWithoutAGlobalKeyNoKeyIsGlobal(t *testing.T) {
	r, err := instances.Open(t.Context(), newStore(t), "")
	if err != nil {
		t.Fatal(err)
	}
	wantKey(t, r, "", "")
	wantKey(t, r, globalKey, "")
}

func TestANewTokenTakesThePlaceOfTheFormerOne(t *testing.T) {
	s := newStore(t)
	r := open(t, s)
	create(t, r, "a", "old")
	create(t, r, "b", "other")
	in, err := r.SetToken(t.Context(), "a", "new")
	if err != nil || in.Token != instances.Sum("new") {
		t.Fatalf("SetToken: %+v, %v", in, err)
	}
	for _, r := range []*instances.Registry{r, open(t, s)} {
		wantKey(t, r, "old", "")
		wantKey(t, r, "new", "a")
	}
	_, err = r.SetToken(t.Context(), "a", "new")
	wantError(t, "the same token again", err, nil)
	_, err = r.SetToken(t.Context(), "a", "other")
	wantError(t, "another instance's token", err, instances.ErrToken)
	_, err = r.SetToken(t.Context(), "a", globalKey)
	wantError(t, "the global key", err, instances.ErrToken)
	_, err = r.SetToken(t.Context(), "nobody", "x")
	wantError(t, "an unknown instance", err, instances.ErrUnknown)
	wantKey(t, r, "new", "a")
	create(t, r, "c", "old") // free again
}

func TestADeletedInstanceIsGoneWithItsTokenAndSettings(t *testing.T) {
	s := newStore(t)
	r := open(t, s)
	create(t, r, "a", "token-a")
	if _, err := r.Set(t.Context(), "a", "websocket", json.RawMessage(`{"enabled":true}`)); err != nil {
		t.Fatal(err)
	}
	if err := r.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	for _, r := range []*instances.Registry{r, open(t, s)} {
		if _, ok := r.Get("a"); ok {
			t.Fatal("the instance exists")
		}
		wantKey(t, r, "token-a", "")
	}
	wantError(t, "delete again", r.Delete(t.Context(), "a"), instances.ErrUnknown)
	if in := create(t, r, "a", "token-a"); len(in.Settings) != 0 {
		t.Fatalf("the new instance has settings: %+v", in)
	}
}

func TestSettingsAreKeptPerSinkAndKeepTheirIdentity(t *testing.T) {
	s := newStore(t)
	r := open(t, s)
	before := create(t, r, "a", "token-a")
	first, err := r.Set(t.Context(), "a", "websocket", json.RawMessage(`{"enabled":true}`))
	if err != nil || first.ID == "" || first.CreatedAt.IsZero() {
		t.Fatalf("Set: %+v, %v", first, err)
	}
	if _, err := r.Set(t.Context(), "a", "webhook", json.RawMessage(`{"url":"x"}`)); err != nil {
		t.Fatal(err)
	}
	second, err := r.Set(t.Context(), "a", "websocket", json.RawMessage(`{"enabled":false}`))
	if err != nil || second.ID != first.ID || !second.CreatedAt.Equal(first.CreatedAt) {
		t.Fatalf("Set again: %+v, %v, want the identity of %+v", second, err, first)
	}
	for _, r := range []*instances.Registry{r, open(t, s)} {
		in, _ := r.Get("a")
		if got := string(in.Settings["websocket"].Value) + string(in.Settings["webhook"].Value); got != `{"enabled":false}{"url":"x"}` {
			t.Fatalf("settings are %s", got)
		}
		wantKey(t, r, "token-a", "a")
	}
	if len(before.Settings) != 0 {
		t.Fatal("an Instance handed out before has changed")
	}
	_, err = r.Set(t.Context(), "nobody", "websocket", nil)
	wantError(t, "an unknown instance", err, instances.ErrUnknown)
}

func TestAllIsSortedByName(t *testing.T) {
	r := open(t, newStore(t))
	for _, name := range []string{"b", "c", "a"} {
		create(t, r, name, "")
	}
	var got []string
	for _, in := range r.All() {
		got = append(got, in.Name)
	}
	if !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Fatalf("got %v", got)
	}
}

func TestWatchTellsOfChangesInOrderWhenTheyCanBeRead(t *testing.T) {
	r := open(t, newStore(t))
	var got []string
	stop := r.Watch(func(c instances.Change) {
		in, exists := r.Get(c.Instance)
		got = append(got, fmt.Sprint(c.Kind, c.Instance, c.Sink, exists, len(in.Settings)))
	})
	ctx := t.Context()
	create(t, r, "a", "")
	r.Create(ctx, instances.Instance{Name: "a"}, "") // refused: no change
	r.Set(ctx, "a", "websocket", json.RawMessage(`{}`))
	r.SetToken(ctx, "a", "t")
	r.Delete(ctx, "a")
	stop()
	create(t, r, "b", "")
	want := []string{
		fmt.Sprint(instances.Created, "a", "", true, 0), fmt.Sprint(instances.NewSettings, "a", "websocket", true, 1),
		fmt.Sprint(instances.NewToken, "a", "", true, 1), fmt.Sprint(instances.Deleted, "a", "", false, 0),
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
}

func TestChangesAtTheSameTimeAreAllKept(t *testing.T) {
	s := newStore(t)
	r := open(t, s)
	create(t, r, "a", "")
	var changes int // written by watchers, one at a time
	defer r.Watch(func(instances.Change) { changes++ })()
	const n = 20
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			if _, err := r.Set(t.Context(), "a", fmt.Sprint("sink", i), json.RawMessage(`{}`)); err != nil {
				t.Error(err)
			}
		})
		running.Go(func() {
			if _, err := r.Create(t.Context(), instances.Instance{Name: fmt.Sprint("b", i)}, fmt.Sprint("token", i)); err != nil {
				t.Error(err)
			}
			r.Authenticate(fmt.Sprint("token", i))
		})
	}
	running.Wait()
	in, _ := open(t, s).Get("a")
	if len(in.Settings) != n || len(open(t, s).All()) != n+1 || changes != 2*n {
		t.Fatalf("%d settings, %d instances, %d changes", len(in.Settings), len(open(t, s).All()), changes)
	}
}

// A brokenStore fails every write.
type brokenStore struct{ instances.Store }

var errDisk = errors.New("disk full")

func (brokenStore) PutInstance(context.Context, instances.Instance) (instances.Instance, error) {
	return instances.Instance{}, errDisk
}
func (brokenStore) DeleteInstance(context.Context, string, int64) (int64, error) { return 0, errDisk }

func TestWhatTheStoreRefusedHasNotHappened(t *testing.T) {
	s := newStore(t)
	create(t, open(t, s), "a", "token-a")
	r := open(t, brokenStore{s})
	defer r.Watch(func(c instances.Change) { t.Errorf("told of a change that was not stored: %+v", c) })()
	ctx := t.Context()
	_, err := r.Create(ctx, instances.Instance{Name: "b"}, "token-b")
	wantError(t, "create", err, errDisk)
	_, err = r.SetToken(ctx, "a", "new")
	wantError(t, "new token", err, errDisk)
	_, err = r.Set(ctx, "a", "websocket", json.RawMessage(`{}`))
	wantError(t, "set", err, errDisk)
	wantError(t, "delete", r.Delete(ctx, "a"), errDisk)
	wantKey(t, r, "token-a", "a")
	wantKey(t, r, "new", "")
	wantKey(t, r, "token-b", "")
	if in, _ := r.Get("a"); len(in.Settings) != 0 {
		t.Fatalf("settings are %v", in.Settings)
	}
}

func TestAnInstanceThatAnEventMadeIsAdoptedOnce(t *testing.T) {
	s := newStore(t)
	r := open(t, s)
	create(t, r, "owned", "other-token")
	made, err := r.Create(t.Context(), instances.Instance{Name: "a", ByEvent: true}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Set(t.Context(), "a", "webhook", json.RawMessage(`{"old":1}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Set(t.Context(), "a", "websocket", json.RawMessage(`{"old":2}`)); err != nil {
		t.Fatal(err)
	}
	r = open(t, s) // that it may be adopted outlives a restart
	var changes []instances.Change
	defer r.Watch(func(c instances.Change) { changes = append(changes, c) })()

	wanted := instances.Instance{
		Name: "a", Integration: "WHATSAPP-BAILEYS",
		Settings: map[string]instances.Settings{"websocket": {ID: "1", Value: json.RawMessage(`{"new":2}`)}},
	}
	_, err = r.Adopt(t.Context(), wanted, "other-token")
	wantError(t, "with another's token", err, instances.ErrToken)
	const racing = 20
	won := make(chan int, racing)
	var running sync.WaitGroup
	for i := range racing {
		running.Go(func() {
			in, err := r.Adopt(t.Context(), wanted, fmt.Sprint("token-", i))
			switch {
			case err == nil && (in.ID != made.ID || in.ByEvent || in.Integration != "WHATSAPP-BAILEYS"):
				t.Errorf("adopted as %+v, was %+v", in, made)
			case err == nil:
				won <- i
			case !errors.Is(err, instances.ErrExists):
				t.Error(err)
			}
		})
	}
	running.Wait()
	if len(won) != 1 {
		t.Fatalf("%d of %d adopted it", len(won), racing)
	}
	winner := fmt.Sprint("token-", <-won)
	for range 2 { // as it is, and after opening again
		wantKey(t, r, winner, "a")
		in, _ := r.Get("a")
		if string(in.Settings["webhook"].Value) != `{"old":1}` || string(in.Settings["websocket"].Value) != `{"new":2}` {
			t.Errorf("settings %s", in.Settings)
		}
		r = open(t, s)
	}
	want := []instances.Change{{Kind: instances.NewToken, Instance: "a"}, {Kind: instances.NewSettings, Instance: "a", Sink: "websocket"}}
	if !slices.Equal(changes, want) {
		t.Errorf("told of %v, want %v", changes, want)
	}
}

func TestWhatIsNotAdopted(t *testing.T) {
	r := open(t, newStore(t))
	create(t, r, "made", "")
	create(t, r, "owned", "token")
	if _, err := r.Create(t.Context(), instances.Instance{Name: "claimed", ByEvent: true}, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := r.SetToken(t.Context(), "claimed", "its-own"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"made", "owned", "claimed"} {
		_, err := r.Adopt(t.Context(), instances.Instance{Name: name}, "new-token")
		wantError(t, name, err, instances.ErrExists)
	}
	if in, err := r.Adopt(t.Context(), instances.Instance{Name: "new"}, "new-token"); err != nil || in.ID == "" {
		t.Errorf("a name that is free: %+v, %v", in, err)
	}
	if _, err := r.Adopt(t.Context(), instances.Instance{Name: "a/b"}, "t"); err == nil {
		t.Error("a name that is none was taken")
	}
}

func TestTwoGlobalKeysOpenEverythingAndTheirPositionsAreKnown(t *testing.T) {
	r, err := instances.Open(t.Context(), newStore(t), instances.Sum("new"), "", instances.Sum("previous"))
	if err != nil {
		t.Fatal(err)
	}
	for key, position := range map[string]int{"new": 1, "previous": 2, "other": 0, "": 0} {
		global, name, ok := r.Authenticate(key)
		if r.GlobalKey(key) != position || global != (position > 0) || ok != global || name != "" {
			t.Errorf("%q: position %d, global %t, want %d", key, r.GlobalKey(key), global, position)
		}
	}
	for _, key := range []string{"new", "previous"} {
		_, err := r.Create(t.Context(), instances.Instance{Name: "sales"}, key)
		wantError(t, "a global key as a token", err, instances.ErrToken)
	}
	if f := instances.Sum("new").Fingerprint(); len(f) != 8 || !strings.HasPrefix(string(instances.Sum("new")), f) || instances.Digest("").Fingerprint() != "" {
		t.Errorf("fingerprint %q", f)
	}
}

// A name that a reader takes for another one is refused when it is new, with a text that says what is wrong with it.
// One that exists already goes on working.
func TestNamesThatLookLikeAnotherAreRefusedWhenTheyAreNew(t *testing.T) {
	s := newStore(t)
	for name, text := range map[string]string{
		"sales\u200b": "U+200B", "sa\u200dles": "U+200D", "\ufeffsales": "U+FEFF", "sa\u00adles": "U+00AD", "sales\u2060": "U+2060",
		"sa\u202eles": "U+202E", "sales\u2066": "direction", "\u200fsales": "direction", "sa\u00a0les": "like a space", "sa\u2003les": "U+2003",
		"sales\ufe0f": "U+FE0F", "sa\u3164les": "U+3164", "sa\u034fles": "U+034F", "sa\u0085les": "U+0085", "sa\u2800les": "U+2800",
		"sales\U000e0041": "U+E0041", "a\u0301": `give it as "\u00e1"`, "\u212b": `give it as "\u00c5"`, "\u2126": `"\u03a9"`,
	} {
		r := open(t, s)
		_, err := r.Create(t.Context(), instances.Instance{Name: name}, "")
		if !errors.Is(err, event.ErrInvalid) || !strings.Contains(err.Error(), text) {
			t.Errorf("create %+q: %v, want a text with %s", name, err, text)
		}
		if _, err := r.Adopt(t.Context(), instances.Instance{Name: name}, "token"); !errors.Is(err, event.ErrInvalid) {
			t.Errorf("adopt %+q: %v", name, err)
		}
		if _, err := r.Ensure(t.Context(), instances.Instance{Name: name, ByEvent: true}); !errors.Is(err, event.ErrInvalid) {
			t.Errorf("first event of %+q: %v", name, err)
		}
		if len(r.All()) != 0 {
			t.Fatalf("%+q was stored", name)
		}
	}
	for _, name := range []string{"sales", "Loja ação 日本 ñ", "Ελλάδα", "магазин", "متجر", "दुकान", "a_b-c.d@e", "🛒", "Å"} {
		create(t, open(t, s), name, "")
	}

	old := "old\u200bname" // from before names were looked at
	if _, err := s.PutInstance(t.Context(), instances.Instance{Name: old, ID: "1", ByEvent: true}); err != nil {
		t.Fatal(err)
	}
	r := open(t, s)
	if in, err := r.Ensure(t.Context(), instances.Instance{Name: old}); err != nil || in.ID != "1" {
		t.Errorf("an event of an old instance: %+v, %v", in, err)
	}
	_, set := r.Set(t.Context(), old, "webhook", json.RawMessage(`{}`))
	_, token := r.SetToken(t.Context(), old, "token")
	if err := errors.Join(set, token, r.Delete(t.Context(), old)); err != nil {
		t.Errorf("an old instance does not work any more: %v", err)
	}
}

// An away store cannot be read. Its instances can be.
type away struct {
	instances.Store
	broken *atomic.Bool
}

func (a away) InstanceUpdates(ctx context.Context, after int64) ([]instances.Update, error) {
	if a.broken.Load() {
		return nil, errDisk
	}
	return a.Store.InstanceUpdates(ctx, after)
}

// A write that is stored and cannot be read back is no success, and is seen when the store can be read again.
func TestFollowGoesOnAfterTheStoreWasAway(t *testing.T) {
	s := newStore(t)
	var broken atomic.Bool
	r := open(t, away{s, &broken})
	create(t, r, "a", "")
	broken.Store(true)
	_, err := r.Create(t.Context(), instances.Instance{Name: "b"}, "")
	wantError(t, "a write that cannot be read back", err, errDisk)
	wantError(t, "follow", r.Follow(t.Context()), errDisk)
	broken.Store(false)
	create(t, open(t, s), "c", "")

	seen := make(chan string, 2)
	defer r.Watch(func(c instances.Change) { seen <- c.Instance })()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Follow(ctx) }()
	if first, second := <-seen, <-seen; first != "b" || second != "c" {
		t.Errorf("told of %s, then of %s", first, second)
	}
	cancel()
	wantError(t, "the end of Follow", <-ended, nil)
}

func TestFollowEndsWhenTheStoreIsClosed(t *testing.T) {
	f := instances.NewFeed(7)
	f.Add(instances.Update{Revision: 8, Name: "a"})
	f.Close()
	if updates, err := f.After(t.Context(), 7); err != nil || len(updates) != 1 {
		t.Errorf("what is there already: %v, %v", updates, err)
	}
	_, err := f.After(t.Context(), 8)
	wantError(t, "behind the last change of a closed store", err, instances.ErrClosed)
	_, err = f.After(t.Context(), 6)
	wantError(t, "before what is remembered", err, instances.ErrForgotten)
}

// A store that several nodes share may have forgotten what this one has missed.
func TestFollowersOfAFeedThatHasSkippedChangesAreTold(t *testing.T) {
	f := instances.NewFeed(7)
	f.Add(instances.Update{Revision: 8, Name: "a"})
	waiting := make(chan error)
	go func() {
		_, err := f.After(t.Context(), 8)
		waiting <- err
	}()
	f.Skip(20)
	wantError(t, "behind what was the newest change", <-waiting, instances.ErrForgotten)
	f.Skip(10) // which it is behind already
	f.Add(instances.Update{Revision: 21, Name: "b"})
	if updates, err := f.After(t.Context(), 20); err != nil || len(updates) != 1 || updates[0].Name != "b" {
		t.Errorf("behind what was skipped: %v, %v", updates, err)
	}
}

// What a feed keeps is bounded by bytes, too: settings may be large.
func TestAFeedOfLargeChangesRemembersFewer(t *testing.T) {
	f := instances.NewFeed(0)
	large := &instances.Instance{Settings: map[string]instances.Settings{"webhook": {Value: make([]byte, 1<<20)}}}
	for i := range 20 {
		f.Add(instances.Update{Revision: int64(i + 1), Instance: large})
	}
	_, err := f.After(t.Context(), 10)
	wantError(t, "ten changes of 1 MiB ago", err, instances.ErrForgotten)
	if updates, err := f.After(t.Context(), 18); err != nil || len(updates) != 2 {
		t.Errorf("the newest two: %d, %v", len(updates), err)
	}
}

// A leaving store ends the caller's context as soon as something is stored.
type leaving struct {
	instances.Store
	leave context.CancelFunc
}

func (l leaving) PutInstance(ctx context.Context, in instances.Instance) (instances.Instance, error) {
	defer l.leave()
	return l.Store.PutInstance(ctx, in)
}

func TestAStoredChangeIsNoErrorThoughTheCallerHasLeft(t *testing.T) {
	s := newStore(t)
	for i := range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		r := open(t, leaving{s, cancel})
		follow, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Follow(follow) }()
		name := fmt.Sprint("i", i)
		_, err := r.Create(ctx, instances.Instance{Name: name}, "")
		if _, ok := r.Get(name); err != nil || !ok {
			t.Errorf("create: %v, shown: %t", err, ok)
		}
		stop()
		wantError(t, "the end of Follow", <-ended, nil)
	}
}

// What a write allocates must not depend on how many other instances there are.
func TestAWriteCostsOneInstanceHoweverManyThereAre(t *testing.T) {
	r := open(t, newStore(t))
	allocated := func(until int) (bytes uint64) {
		for i := len(r.All()); i < until; i++ {
			create(t, r, fmt.Sprint("i", i), fmt.Sprint("token ", i))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range 100 {
			if _, err := r.SetToken(t.Context(), fmt.Sprint("i", i), fmt.Sprint("new token ", until, i)); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	few, many := allocated(200), allocated(10_000)
	if many > 3*few {
		t.Errorf("100 writes allocate %d bytes beside 200 instances and %d beside 10,000", few, many)
	}
}
