package config

import (
	"context"
	"os"
	"time"
)

// defaultPoll is how often Watch looks when it is not told.
const defaultPoll = 2 * time.Second

// Watch calls onChange, on the caller's goroutine, whenever one of the files changed, until ctx ends; it
// then returns ctx's error. A change is reported once the files stand still for one poll, so that a half-written file
// is not; removal alone is not a change, re-creation is (editors save that way). Links are followed: the swap of
// a Kubernetes ConfigMap is seen. trigger, which may be nil, calls at once: main sends SIGHUP there.
//
// It polls with stat, every 2 s when every is 0. koanf's own watcher ends for good at a removal, and deadlocks
// when the file is missing at start (engineering.md, section 6).
func Watch(ctx context.Context, paths []string, every time.Duration, trigger <-chan os.Signal, onChange func()) error {
	if every <= 0 {
		every = defaultPoll
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	reported := look(paths)
	seen := reported
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, open := <-trigger:
			if !open {
				trigger = nil
				continue
			}
			reported = look(paths)
			seen = reported
			onChange()
		case <-tick.C:
			now := look(paths)
			if now.still(seen) && now.news(reported) {
				reported = now
				onChange()
			}
			seen = now
		}
	}
}

// sight is what stat says of each path; nil where nothing is.
type sight []os.FileInfo

func look(paths []string) sight {
	s := make(sight, len(paths))
	for i, p := range paths {
		if info, err := os.Stat(p); err == nil {
			s[i] = info
		}
	}
	return s
}

// same compares one file's two sights.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// still reports that nothing moved since before.
func (s sight) still(before sight) bool {
	for i := range s {
		if !same(s[i], before[i]) {
			return false
		}
	}
	return true
}

// news reports a file that is there and is not the one that was reported.
func (s sight) news(reported sight) bool {
	for i := range s {
		if s[i] != nil && !same(s[i], reported[i]) {
			return true
		}
	}
	return false
}
