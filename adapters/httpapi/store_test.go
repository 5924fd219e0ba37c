package httpapi_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/evosink/evosink/adapters/httpapi"
	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/instances"
)

// brokenStore fails to write once err is set.
type brokenStore struct {
	*memory.Engine
	err error
}

func (s *brokenStore) PutInstance(ctx context.Context, in instances.Instance) (instances.Instance, error) {
	if s.err != nil {
		return in, s.err
	}
	return s.Engine.PutInstance(ctx, in)
}

func (s *brokenStore) DeleteInstance(ctx context.Context, name string, version int64) (int64, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.Engine.DeleteInstance(ctx, name, version)
}

func TestWhatTheStoreRefusesIsNotConfirmed(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		text   string
	}{
		{errors.New("disk full at SECRET"), 503, "The engine failed and has not confirmed the request; try again"},
		{instances.ErrConflict, 409, "the instance was changed by another request at the same time; try again"},
	} {
		engine, err := memory.New(memory.DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		store := &brokenStore{Engine: engine}
		registry, err := instances.Open(t.Context(), store, instances.Sum(globalKey))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := registry.Create(t.Context(), instances.Instance{Name: "sales"}, salesKey); err != nil {
			t.Fatal(err)
		}
		s := newServer(t, func(o *httpapi.Options) { o.Registry = registry })
		store.err = c.err
		for _, a := range []answer{
			s.admin("POST", "/instance/create", `{"instanceName":"new"}`),
			s.admin("POST", "/instance/token/sales", ""),
			s.admin("POST", "/websocket/set/sales", `{"websocket":{"enabled":true}}`),
			s.admin("DELETE", "/instance/delete/sales", ""),
		} {
			a.says(t, c.status, c.text)
			if strings.Contains(a.text, "SECRET") {
				t.Error("the caller got to see what only the operator should")
			}
		}
		s.do("GET", "/websocket/find/sales", "", "apikey", salesKey).is(t, 200, "null")
	}
}
