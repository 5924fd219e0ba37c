// Package httpapi is evosink's HTTP side: events in, settings of sinks per instance, instances and their tokens,
// health. What clients of Evolution API see of these stays as it is: routes, status codes, bodies, the shape of errors.
//
//	POST   /events/{instance}             one event, an array, or NDJSON
//	POST   /ingest/{product}[/...]        webhooks of an unmodified Evolution API or Evolution Go (Options.Ingest)
//	POST   /instance/create               DELETE /instance/delete/{instance}
//	GET    /instance/fetchInstances       POST   /instance/token/{instance}
//	POST   /{sink}/set/{instance}         GET    /{sink}/find/{instance}
//	GET    /admin/sinks                   GET    /metrics
//	GET    /admin/queue                   DELETE /admin/queue
//	POST   /admin/queue/pause             POST   /admin/queue/resume
//	GET    /admin/queue/attempts/{event}
//	GET    /admin/dead                    DELETE /admin/dead
//	GET    /admin/dead/{id}               DELETE /admin/dead/{id}
//	POST   /admin/dead/{id}/replay        POST   /admin/dead/replay
//	GET    /admin/replays
//	GET    /admin/replays/{id}            DELETE /admin/replays/{id}
//	GET    /healthz  /readyz  /  /openapi.yaml
//
// [API] is an [http.Handler]; its maker owns the listener ([NewServer] has the time limits that a public one
// needs) and hangs further handlers beside the routes with [API.Mount]. [Process.Run] runs listener, hub and engine
// together and ends them within one limit of time.
//
// # Keys
//
// A key comes in the header "apikey" or as "Authorization: Bearer". It is the global key, which opens everything, or an
// instance's token, which opens that instance. The key is checked first, then
// whether it opens the instance, then whether the instance exists, and only then the body. So names of instances cannot
// be guessed: a key that does not open an instance gets the same 401 whether it exists or not. The instance comes from
// the path and nowhere else: a query parameter never overrides it. There may be two global keys at once,
// while the first one replaces the second. New tokens have at least 16 characters, unless auth.allow_short_tokens is
// on; older ones go on to open their instance.
//
// GET /readyz tells without a key whether all is well and how many parts are not; which and why is for the holder of a
// global key.
//
// Webhooks of Evolution cannot always set a header, so the ingest routes also take the query parameter "apikey", and as
// a last resort the token in the body if it is the token of the very instance that the body names. No address, loopback
// included, is let in without a key. Bodies of senders without a key of their own are decoded a few at a time only.
//
// An address that presents too many wrong keys is answered 429 for further wrong ones; right ones are let in, for many
// tenants may stand behind one address. Wrong keys are a line in the log per address and minute.
//
// # Limits
//
// What strangers and tenants may cost is bounded, and a request that meets a limit is told which:
//
//   - Bodies: server.max_bodies_bytes for all that are under way, from their first byte until their answer (503); half
//     of it for one instance's token and for one address, a quarter for all senders without a key (429). A body counts
//     as it arrives, not as it is announced. Bodies up to 64 KiB have an eighth on top of every limit, so that slow
//     large ones do not shut them out.
//   - Connections ([Serve]): server.max_connections in all (503) and server.max_connections_per_address (429). One
//     without a request makes room for a new one. Beyond the limits /healthz, /readyz and /metrics are still answered.
//     Clients of server.trusted_proxies count by their own address.
//   - Events: events.rate_each per second and instance, if it is set (429). A request's events are taken all or not at all.
//   - Deliveries that wait: delivery.instance_limit, delivery.instance_bytes, an equal part of delivery.total_limit and
//     delivery.total_bytes, and delivery.lane_limit if all lanes of the event have reached it (429); what was taken just
//     before that, delivery.when_full decides. What the engine does not take within events.timeout is a 429 as well.
//   - Time: for the header, for the body, and for reading the answer, 10 s and a second per 64 KiB.
//   - Settings: 1 MiB, 10,000 values, 2,000 entries in one list or object, before they are decoded.
//
// # Events
//
// POST /events/{instance} is all or nothing: every event is checked, and the answer 201 {"ids":[...]} comes when the
// engine has all of them for good. An answer other than 201 may mean that they are there nevertheless (the line broke);
// an event posted again with the same id is the same event: it is answered as accepted, and published once, while the
// log holds the first.
//
// What the holder of an instance's token says of an event is a tenant's word. Its data, further keys, sender, sinks
// (which only choose among those that would get it), id and date_time, up to a day ahead, are taken over. Its
// server_url is replaced by the configured one, or left out if there is none: flows call that address back with the
// API's key. Names by which the API itself tells of instances, their keys and its errors ([event.System]) are refused
// with 403, also from a webhook of Evolution that comes by an instance's token. The holder of the global key may say
// all of that; a server_url that is no http or https address is a 400 there, but for webhooks of Evolution, where it is
// left out.
//
// Status codes beyond Evolution API's: 413 for an event or body over the limit, 429 with Retry-After when the engine
// does not take events fast enough or the caller meets one of its limits, 503 with Retry-After when the engine cannot
// take any or the server's limits are met.
//
// The instance's token travels with its events only if auth.expose_in_fetch_instances says that consumers may see it.
// Otherwise it is dropped here, before it reaches any disk. The global key is never taken over from a body.
//
// # Admin
//
// What is under /admin shows and steers the delivery queue (package queue), for the holder of the global key. The
// prefix keeps it apart from sinks, which may have any name, and lets a proxy close it to the outside by one rule. Its
// parameters are read strictly, in the query of GET and DELETE, in a JSON object of POST: one that is misspelt, empty
// or given twice is a 400, because "everything" is what a selection means that selects nothing. A purge needs a sink or
// a filter, or all=true.
//
// A replay of many dead letters is a job of the server: its request may follow it, by a line of NDJSON after each step,
// but it goes on when the request ends. Jobs live as long as the process. When the server drains they end; what was put
// back stays so, the rest stays among the dead letters.
//
// # Audit
//
// Every change that comes in over HTTP is a line of the log at level info, with component=audit: instances, tokens,
// settings, pauses, purges and replays. It says what was changed, by which key (global, previous, or a token, by the
// first digits of its digest) and from which address, and never what the values are. Behind a proxy the address is the
// client's only if server.trusted_proxies names the proxy.
//
// GET /metrics shows the registry that it was given (Options.Metrics), and in it what hub, queue, sinks and engine
// count, by sink. It counts nothing itself, and registers nothing globally. It needs the global key unless metrics.open
// is set: figures tell strangers how much an installation is used.
//
// # Where it differs from Evolution API on purpose
//
//   - A missing wrapper, a missing events list and malformed JSON are a 400 that names the mistake (there a 500, or a
//     parser's text).
//   - Flat bodies of version 1 ({"enabled":true,"events":[]}) are taken for the sink's block.
//   - In POST /instance/create blocks are validated like those of set, and "enabled":false is honoured; left out it
//     means true.
//   - Disabling keeps the list of events for when the sink is enabled again.
//   - A sink that the configuration switches off answers 201 or 200 with an empty body as there, and says why in the
//     header Evosink-Notice and in the log.
//   - What a sink has against a block beyond its schema comes in the shape of schema violations, a list in a list.
//   - POST /instance/create takes over an instance that its first event made and that has no token yet; any
//     other name that is in use is a 403 as there.
//   - Tokens are stored hashed: "hash" is shown once, and fetchInstances answers "token": null.
//
// # Deleting
//
// DELETE emits instance.delete and remove.instance, waits a moment for sinks to have seen them (Options.Settle), and
// only then removes the instance with its settings and token, upon which its sockets are disconnected. If the events
// cannot be stored, nothing is deleted. Creating and new tokens are the other way round: what the event tells of has
// happened, so if the event cannot be stored that is logged, and the caller gets the token, which cannot be shown
// again.
//
// With erase=true, which is the operator's, what is stored of the instance is removed behind that (Options.Erase):
// events of the log, waiting deliveries, dead letters, attempts and pauses. The request can be sent again, also when the
// instance is gone; its answer says how much was removed and whether something is left.
package httpapi
