package main

import (
	"context"
	"log"
	"runtime"
	"time"
)

// How much of all cores others may take for the machine to count as calm.
const calmEnough = 0.1

// A calm is a budget of time for waiting until a shared machine is quiet.
type calm struct{ budget time.Duration }

// measure calls trial when the machine is quiet, and again if it did not stay
// so, as long as the budget lasts. What else the machine did is part of the
// values.
func (c *calm) measure(ctx context.Context, trial func() (values, error)) (values, error) {
	for {
		c.await(ctx)
		before := observe()
		v, err := trial()
		n := observe().since(before)
		v.add(othersShare, 100*n.others)
		v.add(stolenShare, 100*n.stolen)
		took := time.Since(before.at)
		if n.calm() || c.budget < took || ctx.Err() != nil {
			return v, err
		}
		c.budget -= took
		log.Printf("again: others took %.0f %% of the machine", 100*(n.others+n.stolen))
	}
}

// await waits until others have left the machine alone for a second.
func (c *calm) await(ctx context.Context) {
	const moment = time.Second
	for ; c.budget >= moment && ctx.Err() == nil; c.budget -= moment {
		before := observe()
		time.Sleep(moment)
		if observe().since(before).calm() {
			return
		}
	}
}

// noise is what else the machine did between two observations, as shares of
// all cores.
type noise struct {
	others float64 // other processes
	stolen float64 // other machines on the same hardware
}

func (n noise) calm() bool { return n.others+n.stolen <= calmEnough }

func (o observation) since(before observation) noise {
	all := float64(o.at.Sub(before.at)) * float64(runtime.NumCPU())
	others := (o.busy - before.busy) - (o.own - before.own)
	return noise{
		others: max(0, float64(others)/all),
		stolen: float64(o.stolen-before.stolen) / all,
	}
}
