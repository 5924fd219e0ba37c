package httpapi

import (
	"context"
	_ "embed" // for openapi.yaml
	"net/http"
	"strconv"
	"strings"
	"time"
)

// healthz is GET /healthz: the process is alive. It looks at nothing, so that a sick engine does not get the process
// killed.
func (a *API) healthz(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, readiness{Status: "ok"})
}

type readiness struct {
	Status  string            `json:"status"`            // "ready", "not ready" or "draining"
	Failing int               `json:"failing,omitempty"` // how many parts are not well: reasons, and sinks that are not ok
	Reasons []string          `json:"reasons,omitempty"`
	Sinks   map[string]string `json:"sinks,omitempty"` // "ok" or what is wrong
}

// readyTimeout bounds the checks of /readyz.
const readyTimeout = 2 * time.Second

// readyz is GET /readyz: 200 while events are accepted and delivered, else 503. Which parts fail and why is for holders
// of a global key: names of sinks, brokers and files are none of a stranger's business.
func (a *API) readyz(w http.ResponseWriter, r *http.Request) error {
	select {
	case <-a.draining:
		return writeJSON(w, http.StatusServiceUnavailable, readiness{Status: "draining"})
	default:
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	answer := readiness{Status: "ready", Sinks: a.sinkHealth(ctx)}
	status := http.StatusOK
	if a.opts.Ready != nil {
		if err := a.opts.Ready(ctx); err != nil {
			answer.Status, answer.Reasons, status = "not ready", strings.Split(err.Error(), "\n"), http.StatusServiceUnavailable
		}
	}
	answer.Failing = len(answer.Reasons)
	for _, health := range answer.Sinks {
		if health != "ok" {
			answer.Failing++
		}
	}
	if a.forGlobal(r) != nil {
		answer.Reasons, answer.Sinks = nil, nil
	}
	return writeJSON(w, status, answer)
}

func (a *API) sinkHealth(ctx context.Context) map[string]string {
	if a.opts.SinkHealth == nil {
		return nil
	}
	out := map[string]string{}
	for name, err := range a.opts.SinkHealth(ctx) {
		out[name] = "ok"
		if err != nil {
			out[name] = err.Error()
		}
	}
	return out
}

// welcome is GET /, by which users see that they have the right address.
func (a *API) welcome(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]any{
		"status": http.StatusOK, "message": "Welcome to evosink, it is working!",
		"version": a.opts.Version, "documentation": "/openapi.yaml",
	})
}

//go:embed openapi.yaml
var openAPI []byte

// openAPI is GET /openapi.yaml.
func (a *API) openAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Content-Length", strconv.Itoa(len(openAPI)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(openAPI) // fails only if the client has hung up
	return nil
}
