package queue_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		child(path) // a process of a test that kills it
		return
	}
	goleak.VerifyTestMain(m)
}
