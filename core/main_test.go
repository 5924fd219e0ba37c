package core_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// elsewhere makes a new folder the working directory, for an example that leaves files there, until back is called.
func elsewhere() (back func()) {
	here, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "evosink")
	if err != nil {
		panic(err)
	}
	if err := os.Chdir(dir); err != nil {
		panic(err)
	}
	return func() {
		if err := os.Chdir(here); err != nil {
			panic(err)
		}
		_ = os.RemoveAll(dir)
	}
}
