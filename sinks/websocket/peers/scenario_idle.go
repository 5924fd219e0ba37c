package main

import (
	"context"
	"time"
)

const idlers = 10_000

// idle connects 10,000 clients, as fast as they come, and leaves them alone.
func idle(ctx context.Context, t *trial) error {
	first, err := t.crowd(ctx, 100, everywhere) // what every server sets up once
	if err != nil {
		return err
	}
	defer first.Close()
	before, err := t.stats(ctx, true)
	if err != nil {
		return err
	}
	empty, _, err := t.memory()
	if err != nil {
		return err
	}
	begin := time.Now()
	c, err := t.crowd(ctx, idlers, everywhere)
	if err != nil {
		return err
	}
	defer c.Close()
	took := time.Since(begin)
	after, err := t.stats(ctx, false)
	if err != nil {
		return err
	}
	t.record(connects, idlers/took.Seconds())
	t.record(connectCPU, float64((after.CPU-before.CPU).Microseconds())/idlers)
	return t.recordIdle(ctx, empty)
}

// recordIdle records what a client takes beside the empty server, after a few
// seconds and after the server has collected its garbage.
func (t *trial) recordIdle(ctx context.Context, empty int) error {
	time.Sleep(3 * time.Second)
	asItStands, _, err := t.memory()
	if err != nil {
		return err
	}
	t.record(idleMemory, float64(asItStands-empty)/1024/idlers)
	if _, err := t.stats(ctx, true); err != nil {
		return err
	}
	collected, _, err := t.memory()
	if err != nil {
		return err
	}
	t.record(idleCollected, float64(collected-empty)/1024/idlers)
	return nil
}
