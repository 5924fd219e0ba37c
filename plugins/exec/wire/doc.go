// Package wire is the syntax of evosink/1, the protocol between evosink and a sink that runs as its own process.
// It has no goroutine, clock or process; package exec gives it meaning.
//
// Each message is one line: a JSON object, then a newline. The host writes to the plugin's standard input, the plugin
// to its standard output.
//
//	host    {"type":"init","protocol":1,"name":"slack","config":{…},"node":"n1"}
//	plugin  {"type":"ready","protocol":1,"scope":"work","max_in_flight":64,"settings_schema":{…},"config_schema":{…}}
//	host    {"type":"event","id":"d-42","key":"0192…/instance","attempt":1,"instance":"sales",
//	         "event":"messages.upsert","scope":"instance","event_id":"0192…",
//	         "date_time":"…","sender":"…","server_url":"…","settings":{…},"data":{…},"extra":{…}}
//	plugin  {"type":"ack","id":"d-42"}
//	        {"type":"nack","id":"d-42","error":"503","retry_after_ms":5000,"permanent":false,"unavailable":false}
//	        {"type":"log","level":"info","msg":"…"}
//	host    {"type":"ping"}     plugin  {"type":"pong"}
//	host    {"type":"drain"}    plugin  {"type":"drained"}, and then the host closes standard input
//	host    {"type":"error","error":"…"}, the answer to a line that means nothing
//
// "extra" has the keys of the producer's envelope that evosink does not know; without any it is left out.
//
// Both sides ignore keys that they do not know, and keys are exact. Of ready only type and protocol are required; of
// nack only type and id. Acknowledgements come in any order.
//
// # What a line never holds
//
// The host writes what every reader of lines reads alike: valid UTF-8, no escape of half a surrogate pair (\ud800), and
// no line separator of any language inside of it. A producer's data may be JSON over several lines, and may hold
// U+2028, which ends a line in JavaScript; neither reaches a plugin as it is.
package wire

// Protocol is the version that this package speaks.
const Protocol = 1

// DefaultMaxInFlight is the window of a plugin whose ready does not name one; MaxInFlight is the largest.
const (
	DefaultMaxInFlight = 64
	MaxInFlight        = 1024
)

// Limits of what a plugin sends, in bytes.
const (
	MaxReply = 256 << 10 // of a line
	MaxText  = 4 << 10   // of a log message or an error, as it is kept
)
