//go:build unix

package exec_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evosink/evosink/core/sink"
)

func TestAPluginThatPrintsBesideTheProtocolStillWorks(t *testing.T) {
	s, log := start(t, plugin(t, "chatty"))
	health(t, s, "")
	if err := s.Deliver(t.Context(), delivery("sales", "1", "{}")); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"starting up!", "debug: got d-1", "standard output belongs to the protocol"} {
		eventually(t, want, func() (string, bool) { return log.String(), strings.Contains(log.String(), want) })
	}
}

func TestAPluginOfGarbageIsEndedAndStartedAgain(t *testing.T) {
	s, log := start(t, plugin(t, "garbage"))
	health(t, s, "")
	if err := s.Deliver(t.Context(), delivery("sales", "1", "{}")); !sink.IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
	eventually(t, "the reason", func() (string, bool) { return log.String(), strings.Contains(log.String(), "that mean nothing") })
	health(t, s, "")
}

func TestAnEndlessLineEndsThePlugin(t *testing.T) {
	s, _ := start(t, plugin(t, "endless"))
	health(t, s, "a line of more than 262144 bytes")
	health(t, s, "failing, ")
}

func TestAcknowledgementsOfOthersAndRepeatedOnesDoNoHarm(t *testing.T) {
	for _, mode := range []string{"wrong-ids", "twice"} {
		s, log := start(t, plugin(t, mode))
		for i := range 10 {
			if err := deliver(t, s, delivery("sales", string(rune('a'+i)), "{}")); err != nil {
				t.Errorf("%s: %v", mode, err)
			}
		}
		eventually(t, mode, func() (string, bool) { return log.String(), strings.Contains(log.String(), "not in flight") })
	}
}

func TestAnAnswerBeforeReadyIsNone(t *testing.T) {
	s, log := start(t, plugin(t, "early"))
	if err := deliver(t, s, delivery("sales", "1", "{}")); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "the first answer to init must be ready") {
		t.Error(log.String())
	}
}

func TestAPluginThatNeverAnswersCostsTimeoutsAndIsStartedAgain(t *testing.T) {
	p := plugin(t, "silent")
	p.Timeout, p.PingInterval, p.MaxInFlight = 20*time.Millisecond, 10*time.Millisecond, 1
	s, log := start(t, p)
	err := deliver(t, s, delivery("sales", "1", "{}"))
	if err == nil || sink.IsPermanent(err) || !strings.Contains(err.Error(), "has not answered") {
		t.Errorf("got %v", err)
	}
	eventually(t, "restart", func() (string, bool) {
		return log.String(), strings.Contains(log.String(), "has answered none of them")
	})
}

func TestAPluginThatDoesNotReadIsEndedForItsSilence(t *testing.T) {
	p := plugin(t, "deaf")
	p.Timeout, p.PingInterval = 20*time.Millisecond, 20*time.Millisecond
	s, log := start(t, p)
	health(t, s, "")
	big := `"` + strings.Repeat("x", 1<<20) + `"` // more than a pipe holds
	for range 4 {
		_ = s.Deliver(t.Context(), delivery("sales", "1", big))
	}
	eventually(t, "restart", func() (string, bool) {
		return log.String(), strings.Contains(log.String(), "has not answered a ping") || strings.Contains(log.String(), "has answered none")
	})
}

func TestAPluginThatClosesItsOutputIsEnded(t *testing.T) {
	s, _ := start(t, plugin(t, "mute"))
	health(t, s, "has closed its standard output")
}

func TestAPluginThatExitsAtOnceIsFailingAndItsDeliveriesWait(t *testing.T) {
	s, _ := start(t, plugin(t, "exits"))
	health(t, s, "failing, ")
	err := s.Deliver(t.Context(), delivery("sales", "1", "{}"))
	if !sink.IsUnavailable(err) || !strings.Contains(err.Error(), "it exited with code 7") {
		t.Errorf("got %v", err)
	}
}

func TestAMissingOrUnsafeFileIsTheSinksHealth(t *testing.T) {
	p := plugin(t, "good")
	p.Command = filepath.Join(t.TempDir(), "none")
	s, _ := start(t, p)
	health(t, s, "no such file")
	p = plugin(t, "good")
	p.SHA256 = strings.Repeat("0", 64)
	s, _ = start(t, p)
	health(t, s, "not the file that was approved")
}

func TestASlowHandshakeHoldsNobodyUp(t *testing.T) {
	p := plugin(t, "slow-start")
	p.StartTimeout = 20 * time.Millisecond
	s, _ := start(t, p)
	health(t, s, "has not answered init within 20ms")
}

func TestCloseDoesNotWaitForASlowHandshake(t *testing.T) {
	s, _ := start(t, plugin(t, "slow-start"))
	begin := time.Now()
	stop(t, s)
	if d := time.Since(begin); d > 8*time.Second {
		t.Errorf("Close took %v", d)
	}
}

func TestSchemasThatCouldHarmAreRefused(t *testing.T) {
	for mode, want := range map[string]string{
		"huge-schema": "at most 65536 are allowed", "bomb-schema": "uses $ref", "newer": "speaks protocol 2",
	} {
		p := plugin(t, mode)
		p.StartTimeout = time.Second
		s, log := start(t, p)
		eventually(t, mode, func() (string, bool) { return log.String(), strings.Contains(log.String(), want) })
		if s.(sink.Checker).Check(t.Context()) == nil {
			t.Errorf("%s: the sink is well", mode)
		}
	}
}

func TestAFloodOnStandardErrorIsBoundedAndCleaned(t *testing.T) {
	s, log := start(t, plugin(t, "flood"))
	for range 20 {
		if err := deliver(t, s, delivery("sales", "1", "{}")); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "left out", func() (string, bool) { return "", strings.Contains(log.String(), "lines were left out") })
	if n := strings.Count(log.String(), "flood"); n > 20*2*100*100 || strings.Contains(log.String(), `\u001b`) {
		t.Errorf("%d bytes of log", len(log.String()))
	}
}

func TestWhatAPluginHasForkedEndsWithIt(t *testing.T) {
	note := filepath.Join(t.TempDir(), "pid")
	s, _ := start(t, plugin(t, "forks", note))
	if err := deliver(t, s, delivery("sales", "1", "{}")); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	pid, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "no descendant", func() (string, bool) {
		stat, err := os.ReadFile("/proc/" + string(pid) + "/stat")
		return string(stat), err != nil || strings.Contains(string(stat), ") Z ")
	})
}

func TestADescendantThatGotAwayHoldsNobodyUp(t *testing.T) {
	s, _ := start(t, plugin(t, "escapes"))
	health(t, s, "it exited with code 1")
	health(t, s, "failing, ")
}

func TestAPluginThatDoesNotEndIsEnded(t *testing.T) {
	for _, mode := range []string{"stubborn", "undrainable"} {
		p := plugin(t, mode)
		p.StopTimeout = 50 * time.Millisecond
		s, _ := start(t, p)
		health(t, s, "")
		stop(t, s)
	}
}

func TestCloseIsCutShortByItsContext(t *testing.T) {
	p := plugin(t, "picky")
	p.Config = map[string]any{"port": 1}
	s, _ := start(t, p)
	health(t, s, "")
	failed := make(chan error, 1)
	go func() { failed <- s.Deliver(context.Background(), delivery("sales", "1", `"sleep"`)) }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := <-failed; !sink.IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
}

func TestAnEventThatKillsThePluginIsFoundAndBlamed(t *testing.T) {
	p := plugin(t, "poison")
	p.Restart.Limit = 1000
	s, _ := start(t, p)
	health(t, s, "")
	innocent := make(chan error)
	for lane := range 5 { // lanes beside the one with the poison
		go func() {
			for i := range 20 {
				d := delivery("beside", fmt.Sprint(lane, "-", i), "{}")
				err := s.Deliver(context.Background(), d)
				for sink.IsUnavailable(err) {
					time.Sleep(time.Millisecond)
					err = s.Deliver(context.Background(), d)
				}
				if err != nil {
					innocent <- err
					return
				}
			}
			innocent <- nil
		}()
	}
	err := deliver(t, s, delivery("sales", "poison", `"poison"`))
	if err == nil || !strings.Contains(err.Error(), "alone: it exited with code 9") {
		t.Errorf("got %v", err)
	}
	for range 5 {
		if err := <-innocent; err != nil {
			t.Errorf("an innocent event was blamed: %v", err)
		}
	}
}

func TestAnEventBeyondTheLimitIsPermanentAndThePluginGoesOn(t *testing.T) {
	p := plugin(t, "good")
	p.MaxEvent = 8 << 10
	s, _ := start(t, p)
	health(t, s, "")
	if err := s.Deliver(t.Context(), delivery("sales", "1", `"`+strings.Repeat("x", 9000)+`"`)); !sink.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	if err := s.Deliver(t.Context(), delivery("sales", "2", `"`+strings.Repeat("x", 7000)+`"`)); err != nil {
		t.Error(err)
	}
}

// One instance's event must not end a plugin that works for all: what common readers of JSON refuse is not sent.
func TestAnEventThatAPluginCannotReadIsADeadLetterAtOnce(t *testing.T) {
	s, _ := start(t, plugin(t, "chatty"))
	health(t, s, "")
	for name, c := range map[string]struct {
		data    string
		refused bool
	}{
		"deep":                             {strings.Repeat("[", 9000) + strings.Repeat("]", 9000), true},
		"deep objects":                     {strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000), true},
		"a huge number":                    {"-1" + strings.Repeat("0", 5000), true},
		"brackets in a string, and digits": {`"\\\"` + strings.Repeat("[", 9000) + strings.Repeat("1", 5000) + `"`, false},
		"many side by side":                {"[" + strings.Repeat("[1.5e+10],", 9000) + "1]", false},
	} {
		if err := deliver(t, s, delivery("sales", name, c.data)); sink.IsPermanent(err) != c.refused || !c.refused && err != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
