//go:build unix

package exec_test

import (
	"context"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evosink/evosink/plugins/exec"
)

// BenchmarkDeliver has as many lanes as the default window, each with one event of 1 kB in flight, which is what the queue does. The
// processor time is that of this process alone.
func BenchmarkDeliver(b *testing.B) {
	for _, language := range []string{"go", "node", "python3"} {
		b.Run(language, func(b *testing.B) {
			var used syscall.Rusage
			children := cpu(b, syscall.RUSAGE_CHILDREN, &used)
			s, _ := start(b, benched(b, language))
			health(b, s, "")
			data := `{"text":"` + strings.Repeat("x", 1000) + `"}`
			var lanes sync.WaitGroup
			var sent atomic.Int64
			b.ReportAllocs()
			before := cpu(b, syscall.RUSAGE_SELF, &used)
			b.ResetTimer()
			for lane := range 64 {
				lanes.Go(func() {
					d := delivery("lane-"+strconv.Itoa(lane), "0192f7a0-0000-7000-8000-000000000000", data)
					for sent.Add(1) <= int64(b.N) {
						if err := s.Deliver(context.Background(), d); err != nil {
							b.Error(err)
						}
					}
				})
			}
			lanes.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
			b.ReportMetric(float64(cpu(b, syscall.RUSAGE_SELF, &used)-before)/float64(b.N), "host-cpu-ns/op")
			stop(b, s)
			b.ReportMetric(float64(cpu(b, syscall.RUSAGE_CHILDREN, &used)-children)/float64(b.N), "plugin-cpu-ns/op")
		})
	}
}

func benched(b *testing.B, language string) exec.Plugin {
	p := plugin(b, "good")
	if language == "go" {
		return p
	}
	command, err := osexec.LookPath(language)
	if err != nil {
		b.Skip("needs " + language)
	}
	script, err := filepath.Abs(filepath.Join("testdata", "ack"+map[string]string{"node": ".js", "python3": ".py"}[language]))
	if err != nil {
		b.Fatal(err)
	}
	p.Command, p.Args = command, []string{script}
	return p
}

func cpu(b *testing.B, of int, used *syscall.Rusage) time.Duration {
	b.Helper()
	if err := syscall.Getrusage(of, used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
