package sink_test

import (
	"context"
	"testing"

	"github.com/evosink/evosink/core/sink"
)

func TestCloseWaitsForUsesAndThenRefusesThem(t *testing.T) {
	u := sink.NewUses()
	ctx, end, err := u.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	go func() { u.Close(context.Background()); close(closed) }()
	for { // until Close has begun
		_, end, err := u.Begin(t.Context())
		if err != nil {
			if !sink.IsUnavailable(err) {
				t.Errorf("got %v", err)
			}
			break
		}
		end()
	}
	select {
	case <-closed:
		t.Fatal("Close has not waited")
	default:
	}
	if ctx.Err() != nil {
		t.Error("the use was ended before its time")
	}
	end()
	<-closed
	u.Close(t.Context()) // again
}

func TestCloseEndsUsesWhenItsTimeIsUp(t *testing.T) {
	u := sink.NewUses()
	ctx, end, err := u.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-ctx.Done(); end() }()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	u.Close(over)
}
