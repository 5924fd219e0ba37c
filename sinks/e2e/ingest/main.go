// Command ingest measures two builds of evosink beside each other, each the whole way that an event of a webhook takes:
// posted over HTTP, committed, dispatched, delivered to a receiver that answers at once.
//
//	go run ./sinks/e2e/ingest -old PATH -new PATH
//
// In every round each binary runs once, started as users do, in a directory of its own and with instances that have a
// webhook each. It is given events of 1 KiB in single POSTs: first at fixed rates, on a schedule that does not wait for
// answers, then by callers that each post the next event as soon as the last one is answered. Of each load it says what
// an event took of the processors and of the disk, and how long it was under way; of the second kind how many events a
// second arrived, counted until the last one has, so that a backlog is no speed. In the end stand the medians of the
// rounds, and whether all that was accepted arrived. Where the other programs of the machine were busier beside one
// binary than beside the other, nothing follows from the difference.
//
// Processor time and bytes are those of evosink's process alone, from /proc, so the program needs Linux. It shares the
// machine with what it measures: the most events per second are those of both together. What it started it ends, also
// when it fails or is interrupted.
//
// All receivers are at one host, to which a binary keeps WEBHOOK_IDLE_PER_HOST connections. At the maximum more
// deliveries than that are under way, so connecting is part of what is measured; -env changes it for both binaries.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options is what the command line says.
type options struct {
	binaries  [2]string // old, new
	rates     []int     // events per second
	seconds   time.Duration
	warmup    time.Duration
	rounds    int
	instances int
	callers   int
	env       []string // variables of both binaries
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, o)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
}

// parse reads the command line.
func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("ingest", flag.ContinueOnError)
	flags.StringVar(&o.binaries[0], "old", "", "the binary that is measured against")
	flags.StringVar(&o.binaries[1], "new", "", "the binary that is judged")
	rates := flags.String("rates", "200,500,1000", "fixed rates in events per second, with commas; empty: none")
	flags.DurationVar(&o.seconds, "seconds", 10*time.Second, "how long each load lasts")
	flags.DurationVar(&o.warmup, "warmup", 2*time.Second, "how long each fixed rate lasts before it is measured")
	flags.IntVar(&o.rounds, "rounds", 3, "rounds, in each of which both binaries run")
	flags.IntVar(&o.instances, "instances", 50, "instances, each with a webhook")
	flags.IntVar(&o.callers, "callers", 64, "callers at the maximum; 0 leaves it out")
	flags.Func("env", "KEY=VALUE, a variable of both binaries; may be repeated", func(v string) error {
		o.env = append(o.env, v)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for _, r := range strings.FieldsFunc(*rates, func(r rune) bool { return r == ',' }) {
		rate, err := strconv.Atoi(r)
		if err != nil || rate < 1 {
			return o, fmt.Errorf("-rates: %q is no rate above 0", r)
		}
		o.rates = append(o.rates, rate)
	}
	if o.binaries[0] == "" || o.binaries[1] == "" {
		return o, errors.New("-old and -new each need the path of a binary")
	}
	if o.seconds <= 0 || o.warmup < 0 || o.rounds < 1 || o.instances < 1 || o.callers < 0 || o.loads() == 0 {
		return o, errors.New("-seconds, -rounds and -instances must be above 0, and there must be a load")
	}
	return o, nil
}

// loads is how many loads a binary is given in a round.
func (o options) loads() int { return len(o.rates) + min(o.callers, 1) }

// run measures, and prints the table. It fails if anything that was accepted did not arrive.
func run(ctx context.Context, o options) error {
	var results [2][][]figures // of each binary, by round and load
	for round := range o.rounds {
		for i := range 2 {
			which := (i + round) % 2 // neither is always the one that finds the machine as the other left it
			f, err := measure(ctx, o, o.binaries[which], fmt.Sprintf("round %d, %s", round+1, [2]string{"old", "new"}[which]))
			if err != nil {
				return fmt.Errorf("%s: %w", o.binaries[which], err)
			}
			results[which] = append(results[which], f)
		}
	}
	fmt.Print(table(o, results))
	return complete(results)
}

// measure runs a binary once and gives it every load.
func measure(ctx context.Context, o options, binary, title string) (_ []figures, err error) {
	to, err := newReceiver()
	if err != nil {
		return nil, err
	}
	defer to.close()
	s, err := start(ctx, binary, o.env)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.createInstances(ctx, o.instances, to.url); err != nil {
		return nil, err
	}
	l := &loader{subject: s, ledger: &to.ledger, instances: o.instances, client: newClient()}
	defer l.client.CloseIdleConnections()
	var windows []window
	for i := range o.loads() {
		w, err := l.load(ctx, o, i, title)
		if err != nil {
			return nil, fmt.Errorf("%w\n%s", err, s.log.tail())
		}
		windows = append(windows, w)
	}
	var out []figures
	for _, w := range windows { // only now: a delivery may come twice long after its load
		out = append(out, to.ledger.figures(w))
	}
	return out, nil
}
