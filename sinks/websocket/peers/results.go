package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
)

// A figure is one thing that is measured of every server.
type figure string

// The figures. CPU is per delivery, or per connection.
const (
	steadyCPU     figure = "steady us"
	steadyP99     figure = "steady p99 ms"
	largeCPU      figure = "16 KiB us"
	burstCPU      figure = "burst us"
	spacesCPU     figure = "namespaces us"
	connects      figure = "connects per second"
	connectCPU    figure = "connect us"
	idleMemory    figure = "idle KiB"
	idleCollected figure = "idle collected KiB"
	readingP99    figure = "all read p99 ms"
	readingPeak   figure = "all read peak MiB"
	readingLost   figure = "all read lost %"
	stuckP99      figure = "some stuck p99 ms"
	stuckPeak     figure = "some stuck peak MiB"
	stuckLost     figure = "some stuck lost %"
	stalls        figure = "stalls"
	othersShare   figure = "others %"
	stolenShare   figure = "stolen %"
)

// values is what one trial, or all of one server, measured.
type values map[figure][]float64

func (v values) add(f figure, value float64) { v[f] = append(v[f], value) }

// results is all that has been measured, round by round.
type results struct {
	Date    string
	Machine Machine
	Servers []string // in their order
	Missing []string // servers that could not be built, and why
	Rounds  map[string]values
}

func newResults() *results {
	return &results{Rounds: make(map[string]values)}
}

// add adds what a trial of server measured.
func (r *results) add(server string, v values) {
	if r.Rounds[server] == nil {
		r.Rounds[server] = make(values)
	}
	for f, more := range v {
		r.Rounds[server][f] = append(r.Rounds[server][f], more...)
	}
}

// median is the median of the rounds; ok is false without any.
func (r *results) median(server string, f figure) (value float64, ok bool) {
	v := slices.Sorted(slices.Values(r.Rounds[server][f]))
	if len(v) == 0 {
		return 0, false
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2, true
}

func readResults(folder string) (*results, error) {
	raw, err := os.ReadFile(filepath.Join(folder, "results.json"))
	if err != nil {
		return nil, err
	}
	r := newResults()
	return r, json.Unmarshal(raw, r)
}

// write leaves results.json, results.md and performance.svg in folder.
func (r *results) write(folder string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		os.MkdirAll(folder, 0o755),
		os.WriteFile(filepath.Join(folder, "results.json"), append(raw, '\n'), 0o644),
		os.WriteFile(filepath.Join(folder, "results.md"), r.markdown(), 0o644),
		os.WriteFile(filepath.Join(folder, "performance.svg"), r.plot(), 0o644),
	)
}
