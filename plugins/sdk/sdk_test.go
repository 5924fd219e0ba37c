package sdk_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/evosink/evosink/plugins/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// talk is the host's side of a conversation.
type talk struct {
	t     *testing.T
	in    *io.PipeWriter
	lines *bufio.Scanner
	ended chan error
}

func begin(t *testing.T, p sdk.Plugin) *talk {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	c := &talk{t: t, in: inW, lines: bufio.NewScanner(outR), ended: make(chan error, 1)}
	go func() {
		err := p.Serve(context.Background(), inR, outW)
		inR.CloseWithError(errors.New("ended"))
		outW.Close()
		c.ended <- err
	}()
	return c
}

func (c *talk) say(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *talk) hears(want string) {
	c.t.Helper()
	if !c.lines.Scan() {
		c.t.Fatalf("the plugin has ended instead of saying %s", want)
	}
	if got := c.lines.Text(); got != want {
		c.t.Errorf("the plugin said %s, want %s", got, want)
	}
}

func (c *talk) ends() error {
	c.in.Close()
	for c.lines.Scan() {
	}
	return <-c.ended
}

const hello = `{"type":"init","protocol":1,"name":"x","node":"n","config":{"url":"http://x"},"later":1}`

func event(id, more string) string {
	return fmt.Sprintf(`{"type":"event","id":%q,"key":"k","attempt":2,"instance":"sales","event":"call","settings":{"room":"a"},"data":{"n":7}%s}`, id, more)
}

func TestAPluginSpeaksTheProtocol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var config struct{ URL string }
		var drained bool
		c := begin(t, sdk.Plugin{
			Config: &config, MaxInFlight: 8, SettingsSchema: `{"type":"object"}`,
			Drain: func(context.Context) error { drained = true; return nil },
			Deliver: func(_ context.Context, d *sdk.Delivery) error {
				var data struct{ N int }
				var settings struct{ Room string }
				if err := errors.Join(d.DecodeData(&data), d.DecodeSettings(&settings)); err != nil {
					return err
				}
				if data.N != 7 || settings.Room != "a" || d.Key != "k" || d.Attempt != 2 || d.Instance != "sales" || d.Event != "call" ||
					string(d.Extra) != `{"isLatest":true}` {
					return fmt.Errorf("got %+v", d)
				}
				return nil
			},
		})
		c.say(hello)
		c.hears(`{"type":"ready","protocol":1,"max_in_flight":8,"settings_schema":{"type":"object"}}`)
		if config.URL != "http://x" {
			t.Errorf("the configuration is %+v", config)
		}
		c.say(event("d-1", `,"extra":{"isLatest":true},"later":[1]`))
		c.hears(`{"type":"ack","id":"d-1"}`)
		c.say(`{"type":"later"}`)
		c.say(`{"type":"ping"}`)
		c.hears(`{"type":"pong"}`)
		c.say(`{"type":"drain"}`)
		c.hears(`{"type":"drained"}`)
		if !drained {
			t.Error("Drain was not called")
		}
		if err := c.ends(); err != nil {
			t.Error(err)
		}
	})
}

func TestErrorsAndPanicsAreRefusals(t *testing.T) {
	for want, err := range map[string]error{
		`{"type":"nack","id":"d-1","error":"x"}`:                                errors.New("x"),
		`{"type":"nack","id":"d-1","error":"w: x","permanent":true}`:            fmt.Errorf("w: %w", sdk.Permanent(errors.New("x"))),
		`{"type":"nack","id":"d-1","error":"x","unavailable":true}`:             sdk.Unavailable(errors.New("x")),
		`{"type":"nack","id":"d-1","error":"x","retry_after_ms":1500}`:          sdk.RetryAfter(errors.New("x"), 1500*time.Millisecond),
		`{"type":"nack","id":"d-1","error":"the plugin panicked: a bad error"}`: nil,
	} {
		synctest.Test(t, func(t *testing.T) {
			c := begin(t, sdk.Plugin{Deliver: func(context.Context, *sdk.Delivery) error {
				if err == nil {
					panic("a bad error")
				}
				return err
			}})
			c.say(hello)
			c.hears(`{"type":"ready","protocol":1,"max_in_flight":64}`)
			c.say(event("d-1", ""))
			c.hears(want)
			if err := c.ends(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMarkingNilIsNil(t *testing.T) {
	if sdk.Permanent(nil) != nil || sdk.Unavailable(nil) != nil || sdk.RetryAfter(nil, 1) != nil {
		t.Error("a success became a failure")
	}
}

func TestDrainWaitsForWhatIsUnderWayAndPingDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := begin(t, sdk.Plugin{Deliver: func(_ context.Context, d *sdk.Delivery) error {
			time.Sleep(time.Hour) // of the bubble
			return nil
		}})
		c.say(hello)
		c.hears(`{"type":"ready","protocol":1,"max_in_flight":64}`)
		c.say(event("d-1", ""))
		c.say(`{"type":"ping"}`)
		c.hears(`{"type":"pong"}`)
		c.say(`{"type":"drain"}`)
		c.hears(`{"type":"ack","id":"d-1"}`)
		c.hears(`{"type":"drained"}`)
		if err := c.ends(); err != nil {
			t.Error(err)
		}
	})
}

func TestTheEndOfInputEndsDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := begin(t, sdk.Plugin{Deliver: func(ctx context.Context, _ *sdk.Delivery) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		c.say(hello)
		c.hears(`{"type":"ready","protocol":1,"max_in_flight":64}`)
		c.say(event("d-1", ""))
		if err := c.ends(); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatCannotWorkEndsThePlugin(t *testing.T) {
	fine := func(context.Context, *sdk.Delivery) error { return nil }
	for want, c := range map[string]struct {
		plugin sdk.Plugin
		line   string
	}{
		"speaks protocol 2":   {sdk.Plugin{Deliver: fine}, `{"type":"init","protocol":2}`},
		"config: ":            {sdk.Plugin{Deliver: fine, Config: new(struct{ URL int })}, hello},
		"setup: no":           {sdk.Plugin{Deliver: fine, Setup: func(context.Context) error { return errors.New("no") }}, hello},
		"read from evosink: ": {sdk.Plugin{Deliver: fine}, "garbage"},
		"is required":         {sdk.Plugin{}, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			talk := begin(t, c.plugin)
			if c.line != "" {
				talk.say(c.line)
			}
			if err := talk.ends(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}

func TestAConfigurationOfTextsWaitsForTheSchemaToBeKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := begin(t, sdk.Plugin{
			Config: new(struct{ URL int }), ConfigSchema: `{}`,
			Deliver: func(context.Context, *sdk.Delivery) error { return nil },
		})
		c.say(hello)
		c.hears(`{"type":"ready","protocol":1,"max_in_flight":64,"config_schema":{}}`)
		c.say(event("d-1", ""))
		if err := c.ends(); err == nil || !strings.Contains(err.Error(), "config: ") {
			t.Errorf("got %v", err)
		}
	})
}

func TestBadDataIsPermanentAndBadSettingsAreNot(t *testing.T) {
	d := sdk.Delivery{Data: json.RawMessage(`[]`), Settings: json.RawMessage(`[]`)}
	var into struct{}
	if d.DecodeData(&into) == nil || d.DecodeSettings(&into) == nil {
		t.Error("a list became an object")
	}
}
