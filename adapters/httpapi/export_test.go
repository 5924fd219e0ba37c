package httpapi

// Routes returns the patterns of all routes.
func (a *API) Routes() []string {
	var out []string
	for _, r := range a.routes() {
		out = append(out, r.method+" "+r.path)
	}
	return out
}

// BodyBytes returns how many bytes of request bodies are under way.
func (a *API) BodyBytes() int64 {
	a.bodies.mu.Lock()
	defer a.bodies.mu.Unlock()
	return a.bodies.used
}
