package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	short := flag.Bool("short", false, "one round with short scenarios, written to results/short")
	servers := flag.String("servers", "", "comma-separated folders of the servers to measure (default all)")
	scenarios := flag.String("scenarios", "", "comma-separated scenarios to run (default all)")
	render := flag.Bool("render", false, "measure nothing; write table and plot of the last results anew")
	wait := flag.Duration("wait", 0, "time to spend at most on waiting for a quiet machine and on repeating what was disturbed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	p, out := full, "results"
	if *short {
		p, out = brief, filepath.Join("results", "short")
	}
	p, err := p.only(*scenarios)
	if *render {
		err = renew(out)
	} else if err == nil {
		err = compare(ctx, p, *servers, out, &calm{budget: *wait})
	}
	if err != nil {
		log.Fatal("peers: ", err)
	}
}

// renew writes what stands beside results.json in folder anew.
func renew(folder string) error {
	r, err := readResults(folder)
	if err != nil {
		return err
	}
	return r.write(folder)
}

// compare builds the servers, those in only if it is not empty, measures them
// and writes the results to folder out.
func compare(ctx context.Context, p plan, only, out string, quiet *calm) error {
	binaries, err := os.MkdirTemp("", "peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(binaries)
	built, missing := build(ctx, binaries, only)
	if len(built) == 0 {
		return fmt.Errorf("no server to measure: %s", strings.Join(missing, "; "))
	}
	r, c := newResults(), pin()
	r.Missing = missing
	for _, peer := range built {
		r.Servers = append(r.Servers, peer.name)
	}
	load := observe().load
	if err := p.run(ctx, r, built, c, quiet); err != nil {
		return err
	}
	r.Machine = machine(ctx, c, load)
	r.Date = time.Now().Format("January 2006")
	return r.write(out)
}

// run measures all peers under all scenarios, one peer after the other within
// a round.
func (p plan) run(ctx context.Context, r *results, built []peer, c cores, quiet *calm) error {
	for _, s := range p {
		for round := range s.rounds {
			for _, peer := range built {
				values, err := quiet.measure(ctx, func() (values, error) { return s.measure(ctx, peer, c) })
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err != nil {
					log.Printf("%s, round %d, %s: %v", s.name, round+1, peer.name, err)
				}
				r.add(peer.name, values)
			}
		}
	}
	return nil
}
