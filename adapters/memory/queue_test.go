package memory_test

import (
	"testing"

	"github.com/evosink/evosink/adapters/memory"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/queue/queuetest"
)

func TestQueueKeepsTheContractOfStores(t *testing.T) {
	queuetest.Run(t, queuetest.Subject{Open: func(t *testing.T) queue.Store {
		engine, err := memory.New(memory.DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		return engine.Queue()
	}})
}
