// Package exec hosts plugins: sinks that run as a process of their own, in any language. To the core each is a sink
// like any other, with its routes, lanes, dead letters and health. The conversation is that of package wire; package
// child keeps the process; plugintest holds any executable to the protocol; plugins/sdk is the author's side in Go.
//
// # Where plugins come from
//
// [Config] names them under plugins.<name>, or they lie in plugin_dir: an executable with a [Manifest] <name>.json
// beside it. Both can be said of one plugin; the configuration wins. [Config.Factories] runs nothing, so a plugin that
// cannot run does not stop evosink: its routes exist, its health says why, and its lanes wait. A manifest that is
// broken does stop it, with the file and the key: an instance would set a sink that does not exist.
//
// # Schemas
//
// Settings of an instance are checked before a plugin has ever run: by the manifest's settings_schema if there is one,
// else only for what every sink has, enabled and events. From the moment the plugin has been ready, what it said there
// counts as well. The same holds for config and its schema, with one more step: variables are texts
// (PLUGIN_SLACK__PORT=80), and the schema says what is a number; when only the ready says it, the process is started
// once more with config read that way. A schema may not use references, and is bounded: it comes from a stranger.
//
// # One delivery
//
// [Sink.Deliver] takes a place in the window, which is as large as the plugin's max_in_flight, writes the event, and
// waits for the answer. The core calls it once at a time per lane, so a plugin never has two events of one lane, and
// may answer in any order.
//
//	ack                              done
//	nack                             retry; with retry_after_ms after that time; permanent: dead letter;
//	                                 unavailable: uses up no attempt, opens the breaker
//	no answer within timeout         retry; the place stays taken, because the plugin still works on it
//	no place free within timeout     unavailable
//	no process is ready              unavailable
//	the process ends meanwhile       unavailable: it is sent again to the next one
//	a line above max_event_bytes     permanent
//	nested too deep, a huge number   permanent
//
// An event that kills the plugin would do so for ever, and hold up all instances. A delivery that has seen two ends is
// therefore sent alone: if the plugin ends even so, the event is to blame and uses up an attempt.
//
// A plugin of mode live gets what happens while it runs, in order per instance, and loses what it is too slow for;
// answers free its places, nothing is repeated.
//
// # What ends a process
//
// Its own exit; a line above [wire.MaxReply]; more than a hundred lines within a minute that mean nothing (an
// acknowledgement of what is not in flight is one); a closed standard input or output; a ping that nothing follows for
// as long as an event may take; a window full of events whose deliveries have timed out. What it has started ends with
// it, in whatever group or session, and also when evosink itself is killed (package child has the limits). The next
// process starts after 1 s, and twice that each time up to 60 s, with jitter; after five ends within five minutes the
// health says failing, and restarts go on.
//
// Standard error and log lines become lines of evosink's log, bounded in rate and length, without control characters.
//
// # Goroutines
//
// [Sink.Start] starts one that supervises. It opens a session per process, whose writer, reader and logger it awaits,
// and package child has one per process. Close waits for deliveries, sends drain, awaits drained and the end of the
// process, and returns when none of them is left.
package exec
