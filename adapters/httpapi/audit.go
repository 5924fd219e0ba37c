package httpapi

import (
	"net/http"

	"github.com/rs/zerolog"

	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/queue"
	"github.com/evosink/evosink/core/sink/remote"
)

// audit begins the log line of a change that a request asks for: what was changed, by which key, from where. The caller
// adds what was changed and sends it with Msg once that has happened. Begin it before the change: afterwards the key
// may be gone. Values are never part of it: no settings, tokens or texts that came with the request.
//
//	action  what was done: "instance.create", "settings.set", "queue.purge"
//	key     which key allowed it: "global", "previous" (the second global key), or "token", an instance's
//	token   the first 8 digits of a token's digest, which tell a former token from a new one
//	from    the client's address
func (a *API) audit(r *http.Request, action string) *zerolog.Event {
	line := a.changes.Info().Str("action", action).Stringer("from", remote.Resolve(r, a.proxies))
	for _, key := range ingestKeys(r) { // those of the header first; the query counts for ingest routes only
		c, ok := a.authenticate(key)
		switch {
		case !ok:
			continue
		case !c.Global:
			return line.Str("key", "token").Str("token", instances.Sum(key).Fingerprint())
		case a.opts.Registry.GlobalKey(key) > 1:
			return line.Str("key", "previous")
		}
		return line.Str("key", "global")
	}
	return line
}

// selection adds which lanes a change was about; what is missing stands for all.
func selection(line *zerolog.Event, s queue.Selector) *zerolog.Event {
	for _, f := range [][2]string{{"sink", s.Sink}, {"target", string(s.Target)}, {"instance", s.Instance}} {
		if f[1] != "" {
			line.Str(f[0], f[1])
		}
	}
	if s == (queue.Selector{}) {
		line.Bool("all", true)
	}
	return line
}

// letterSelection adds which dead letters a change was about.
func letterSelection(line *zerolog.Event, f queue.DeadLetterFilter) *zerolog.Event {
	all := f == queue.DeadLetterFilter{}
	if f.Selector != (queue.Selector{}) || all {
		selection(line, f.Selector)
	}
	if f.ID != 0 {
		line.Int64("letter", f.ID)
	}
	for _, text := range [][2]string{{"event", f.EventID}, {"reason", string(f.Reason)}, {"error", f.Error}} {
		if text[1] != "" {
			line.Str(text[0], text[1])
		}
	}
	return line
}
