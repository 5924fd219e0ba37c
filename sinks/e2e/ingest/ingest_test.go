package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestALedgerCountsWhatIsLostTwiceAndRefused(t *testing.T) {
	to, err := newReceiver()
	if err != nil {
		t.Fatal(err)
	}
	defer to.close()
	begun := time.Now()
	for range 4 {
		to.ledger.begin()
	}
	deliver := func(n int) {
		t.Helper()
		body := fmt.Sprintf(`{"event":"messages.upsert","instance":"bench-0","data":{"n":%d,"text":"x"}}`, n)
		answer, err := http.Post(to.url+"/0", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusNoContent {
			t.Fatal(answer.Status)
		}
	}
	to.ledger.accept(0)
	deliver(0)
	deliver(1) // before its POST is answered
	to.ledger.accept(1)
	deliver(1)
	to.ledger.accept(2) // does not arrive, and 3 is not accepted
	deliver(4)          // was never sent
	if missing, last := to.ledger.backlog(); missing != 1 || last.Before(begun) {
		t.Errorf("%d are missing, the last came at %s", missing, last)
	}
	f := to.ledger.figures(window{from: 0, to: 4, begun: begun, took: time.Second,
		used: usage{cpu: 2 * time.Millisecond, written: 3000}})
	if f.lost != 1 || f.twice != 1 || f.refused != 1 || f.cpu != 1000 || f.bytes != 1500 || f.rate <= 0 {
		t.Errorf("%+v", f)
	}
}

func TestTheTableHasMediansAndTheirRatio(t *testing.T) {
	o := options{rates: []int{200}, seconds: time.Second, rounds: 3, instances: 1}
	rounds := func(cpu ...float64) (out [][]figures) {
		for _, c := range cpu {
			out = append(out, []figures{{cpu: c}})
		}
		return out
	}
	results := [2][][]figures{rounds(300, 100, 200), rounds(50, 60, 900)}
	got := strings.Join(strings.Fields(table(o, results)), " ")
	if want := "200/s processor time, µs/event 200 60 0.30"; !strings.Contains(got, want) {
		t.Errorf("%s\nlacks %s", got, want)
	}
	if err := complete(results); err != nil {
		t.Error(err)
	}
	results[1][2][0].lost = 1
	if err := complete(results); err == nil || !strings.Contains(err.Error(), "new, round 3") {
		t.Errorf("a lost event: %v", err)
	}
}

func TestTheCommandLineIsChecked(t *testing.T) {
	for _, args := range []string{
		"", "-old a -new b -rates 0", "-old a -new b -rates= -callers 0", "-old a -new b -rounds 0",
	} {
		if _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	o, err := parse(strings.Fields("-old a -new b -rates 5,70 -env A=1 -env B=2"))
	if err != nil || fmt.Sprint(o.rates, o.env, o.loads()) != "[5 70] [A=1 B=2] 3" {
		t.Errorf("%+v, %v", o, err)
	}
}
