// Package engineio is a complete Engine.IO server: revision 4 of the protocol
// and, by a switch, revision 3, over HTTP long-polling and websocket, with
// upgrades from one to the other. It stands on gorilla/websocket for websocket
// handshakes and reading, and knows nothing of what its messages mean.
//
// # Use
//
// A Server is an http.Handler for one path. Config.Accept is called for every
// new Session and returns the Handler that hears of its messages and its end.
// The Session is the other direction: Send and SendBatch never wait for the
// client, and what leaves a session leaves in the order of the calls.
//
// # What is where
//
// Package packet is the pure half: packets and payloads to bytes and back.
// Above it, in reading order: request (what a request asks for, and its
// refusal), open, session and receive (a session's life and its packets),
// heartbeat, then the transports: polling, poll and post on one side,
// websocket, conn, reader, writer and poller on the other, and upgrade between
// them.
//
// # Websockets, and what they cost
//
// A message for many sessions is encoded once: a Batch is one immutable slice
// of whole frames, the same for every session that speaks the same dialect.
// Sending it is one non-blocking write(2) by the caller, without allocation.
// Only when the peer does not take everything is the rest queued, as a slice
// of the same memory, and drained by a goroutine that ends with the queue. The
// queue is bounded (Config.MaxQueueBytes); a session over the bound ends with
// ReasonSlowClient, and no other session is delayed. So there is no writer goroutine,
// no timer and no deadline for a client that keeps up. TLS connections have no
// descriptor to write to and always go by way of the queue.
//
// One lock per connection orders everything that leaves it: batches, packets,
// and the frames gorilla writes on its own account (answers to pings and
// closes), for gorilla is given our conn in place of the network's. Compressed
// messages are framed here as well, with compress/flate, for the same reason:
// gorilla only negotiates and inflates.
//
// An idle client has no goroutine and no read buffer on Linux: its connection
// is parked on epoll with EPOLLONESHOT. When input arrives, a fresh goroutine
// reads messages until neither gorilla's buffer (which is ours, so we can tell)
// nor a frame holds more, and parks the connection again. A peer that stops in
// the middle of a frame, or dribbles tiny fragments, thus blocks a goroutine of
// its own and never a shared worker; its heartbeat, which cannot come through
// an unfinished message, ends it. The epoll descriptor is watched by the Go
// runtime, so waiting costs no thread. Elsewhere, for TLS, and with
// Config.GoroutineReaders, the reader stays.
//
// All deadlines of a server share one timer and one clock (see deadlines), and the
// ping of all clients is due in the order they came.
//
// # Closing
//
// When the server ends a websocket it sends what is queued, a close frame and
// FIN, then reads until the client hangs up, up to five seconds: closing at
// once, with input unread, would turn into a reset that destroys the last
// frames on their way. A polling session gets its farewell with the pending or
// next poll, or on the websocket that it was about to move to.
//
// # Goroutines
//
// New starts nothing. Every goroutine belongs to the Server, and Server.Close
// returns when the last has ended: readers, drainers, the poller while there
// are connections, and one per session for Handler.Closed. Pending requests
// run in the goroutines of their http.Server.
package engineio
