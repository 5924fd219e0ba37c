package httpapi

// Routes returns the patterns of all routes.
func (a *API) Routes() []string {
	var out []string
	for _, r := range a.routes() {
		out = append(out, r.method+" "+r.path)
	}
	return out
}

// Keyless returns how many ingest bodies of senders without a key are being read.
func (a *API) Keyless() int { return len(a.keyless) }
