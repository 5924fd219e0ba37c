package pusher

import "time"

// Sign exposes an app's signature of a request.
func Sign(id, key, secret, path string, body []byte, at time.Time) string {
	return app{ID: id, Key: key, Secret: secret}.sign(path, body, at)
}
