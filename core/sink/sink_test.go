package sink_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/sink"
)

func TestMarksSurviveWrappingAndTheOutermostCounts(t *testing.T) {
	base := errors.New("503")
	err := fmt.Errorf("post: %w", sink.RetryAfter(base, 5*time.Second))
	if d, ok := sink.AfterOf(err); !ok || d != 5*time.Second || !errors.Is(err, base) {
		t.Errorf("AfterOf = %v, %v", d, ok)
	}
	if sink.IsPermanent(err) || sink.IsUnavailable(err) {
		t.Error("RetryAfter is taken for another mark")
	}
	if err := sink.Permanent(sink.Unavailable(base)); !sink.IsPermanent(err) || sink.IsUnavailable(err) {
		t.Error("the outermost mark does not count")
	}
	if d, ok := sink.AfterOf(sink.RetryAfter(base, -1)); d != 0 || !ok {
		t.Error("a negative wait must be no wait")
	}
}

func TestMarkingNilIsNil(t *testing.T) {
	if sink.Permanent(nil) != nil || sink.Unavailable(nil) != nil || sink.RetryAfter(nil, 1) != nil {
		t.Error("a success became a failure")
	}
}

func TestSubscribeStoresWhatEvolutionStores(t *testing.T) {
	all, _ := json.Marshal(event.Settable())
	for _, c := range []struct{ block, previous, want string }{
		{`{"enabled":true,"events":["QRCODE_UPDATED"]}`, ``, `{"enabled":true,"events":["QRCODE_UPDATED"]}`},
		{`{"enabled":true,"events":[]}`, ``, `{"enabled":true,"events":` + string(all) + `}`},
		{`{"enabled":true}`, ``, `{"enabled":true,"events":` + string(all) + `}`},
		{`{"enabled":false}`, ``, `{"enabled":false,"events":[]}`},
		{`{"enabled":false}`, `{"enabled":true,"events":["CALL"]}`, `{"enabled":false,"events":["CALL"]}`},
		{`{"enabled":false,"events":[]}`, `{"enabled":true,"events":["CALL"]}`, `{"enabled":false,"events":[]}`},
	} {
		got, err := sink.Subscribe(json.RawMessage(c.block), json.RawMessage(c.previous))
		if err != nil || string(got) != c.want {
			t.Errorf("%s after %s: %s, %v", c.block, c.previous, got, err)
		}
	}
}

type config struct{ On bool }

func (c *config) Validate() error {
	if !c.On {
		return errors.New("on must be true")
	}
	return nil
}

func TestAFactoryRefusesABadConfiguration(t *testing.T) {
	f := sink.Use(sink.Spec[config]{
		Name: "x", Defaults: func() config { return config{} },
		New: func(config, sink.Host) (sink.Sink, error) { return nil, errors.New("made") },
	})
	if _, err := f.New(sink.Host{}); err == nil || !strings.Contains(err.Error(), "sinks.x: on must be true") {
		t.Errorf("got %v", err)
	}
	f.Config.(*config).On = true
	if _, err := f.New(sink.Host{}); err == nil || err.Error() != "sink x: made" {
		t.Errorf("the configuration filled in later does not reach New: %v", err)
	}
}

func TestAPrincipalOpensItsOwnInstanceOnly(t *testing.T) {
	if p := (sink.Principal{Instance: "a"}); !p.May("a") || p.May("b") || p.May("") {
		t.Error("an instance's key opens more or less than its instance")
	}
	if !(sink.Principal{Global: true}).May("b") || (sink.Principal{}).May("") {
		t.Error("the global key must open all, no key nothing")
	}
}
