package logs_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/evosink/evosink/adapters/logs"
)

func TestTheMostTalkativeLevelCounts(t *testing.T) {
	for list, want := range map[string]string{
		"info": "info warn error", "ERROR": "error", "": "info warn error",
		"ERROR,WARN,DEBUG,INFO,LOG,VERBOSE,DARK,WEBHOOKS,WEBSOCKET": "debug info warn error",
		"WEBHOOKS": "error",
	} {
		c := logs.Default()
		c.Level, c.Format = strings.FieldsFunc(list, func(r rune) bool { return r == ',' }), "json"
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		log, _ := logs.New(&out, false, c)
		log.Trace().Msg("m")
		log.Debug().Msg("m")
		log.Info().Msg("m")
		log.Warn().Msg("m")
		log.Error().Msg("m")
		var got []string
		for line := range strings.Lines(out.String()) {
			got = append(got, strings.Split(line, `"`)[3])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q writes %v, want %s", list, got, want)
		}
	}
}

func TestUnknownNamesAreRefused(t *testing.T) {
	for _, c := range []logs.Config{{Level: []string{"loud"}, Format: "json"}, {Format: "xml"}} {
		if c.Validate() == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestTheLevelChangesWhileTheLoggerIsInUse(t *testing.T) {
	var out bytes.Buffer
	c := logs.Default()
	c.Format = "json"
	log, level := logs.New(&out, false, c)
	derived := log.With().Str("sink", "webhook").Logger()
	derived.Debug().Msg("silent")
	c.Level = []string{"debug"}
	level.Set(c)
	derived.Debug().Msg("told")
	c.Level = []string{"warn"}
	level.Set(c)
	derived.Info().Msg("silent")
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"told"`) {
		t.Errorf("it wrote %s", got)
	}
}
