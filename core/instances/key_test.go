package instances_test

import (
	"context"
	"regexp"
	"testing"

	"github.com/evosink/evosink/core/instances"
)

func TestAConfiguredGlobalKeyIsTheKey(t *testing.T) {
	s := newStore(t)
	d, generated, err := instances.GlobalKey(t.Context(), s, "configured")
	if err != nil || d != instances.Sum("configured") || generated != "" {
		t.Fatalf("got %s, %q, %v", d, generated, err)
	}
	if v, _ := s.Value(t.Context(), "global_key_digest"); v != nil {
		t.Fatal("a configured key was stored")
	}
}

func TestAGlobalKeyIsGeneratedOnceAndOnlyItsDigestStored(t *testing.T) {
	s := newStore(t)
	first, key, err := instances.GlobalKey(t.Context(), s, "")
	if err != nil || key == "" || first != instances.Sum(key) {
		t.Fatalf("got %s, %q, %v", first, key, err)
	}
	second, again, err := instances.GlobalKey(t.Context(), s, "")
	if err != nil || again != "" || second != first {
		t.Fatalf("the second time: %s, %q, %v", second, again, err)
	}
}

type noValues struct{ instances.Store }

func (noValues) Value(context.Context, string) ([]byte, error) { return nil, errDisk }

func TestAGlobalKeyThatCannotBeReadIsNotReplaced(t *testing.T) {
	_, generated, err := instances.GlobalKey(t.Context(), noValues{newStore(t)}, "")
	wantError(t, "unreadable store", err, errDisk)
	if generated != "" {
		t.Fatal("a key was generated")
	}
}

func TestTokensAreUpperCaseUUIDs(t *testing.T) {
	form := regexp.MustCompile(`^[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$`)
	a, b := instances.RandomToken(), instances.RandomToken()
	if !form.MatchString(a) || a == b {
		t.Fatalf("got %s and %s", a, b)
	}
}
