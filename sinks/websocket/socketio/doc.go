// Package socketio is a Socket.IO server (protocol revision 5, and by switch
// clients of revision 4, socket.io 2) over package engineio, which carries its
// packets, and package parser, which reads and writes them.
//
//	srv, err := socketio.New(socketio.DefaultConfig())
//	chat := srv.Handle("/chat", socketio.Hooks{Event: socketio.Mux{"say": say}.Serve})
//	http.Handle("/socket.io/", srv)
//	...
//	chat.Emit(ctx, "news", socketio.String("hello"))
//
// # What there is
//
// A Client is one connection. It joins namespaces, and is a Socket in each. A
// Namespace is made by Server.Handle under one name, or comes to be when a
// client joins a name that a pattern of Server.HandleFunc agrees to. Sockets
// may be in rooms; a Selection is the sockets in some rooms and not in others.
// Hooks says what a namespace does: which clients may join, and what happens
// when a socket has joined, emits an event, or leaves.
//
// Arguments of events stay JSON text (Arg) until they are decoded, and
// binary values in them stay bytes.
//
// # Order
//
// What is emitted to a socket, in whatever way, arrives in the order in which
// it was emitted: Socket.Emit, acknowledgements, Namespace.Emit, a Selection,
// the answer to CONNECT, the DISCONNECT. A socket gets the broadcasts that are
// emitted after its CONNECT answer, and no earlier ones, except for those that
// it missed (see below): these come right before the answer.
//
// A broadcast is encoded once, and given a place in the namespace's order. A
// worker takes all that waits there, concatenates it (up to 64 KiB) and hands
// the same bytes to every session, which writes them at once if its client
// keeps up. Meanwhile the next batch gathers: at low rates a batch is one
// event and waits for nothing, under load it grows by itself, and one write
// carries many events. The worker is there only while there is work. What is
// for one socket waits for the worker only if there is one.
//
// Nothing waits for a client. What a client does not take waits for it in its
// session, bounded by engineio.Config.MaxQueueBytes; over the bound the client
// is disconnected with ReasonSlowClient, and no other client is delayed. What waits in
// a namespace is bounded by MaxPending, and makes Emit wait: for the worker,
// that is for the processor, not for any client.
//
// # Goroutines
//
// Constructors start none. An idle client has none of this package's. A
// client's packets are handled in order by a goroutine that is there while
// there are any; a namespace's worker is there while something waits; an
// Authorize hook has its own. Server.Close returns when all have ended.
//
// Locks are taken in the order server, namespace, client, session. No hook
// runs under any of them, and nothing waits under one for a client.
//
// # Clients that come back
//
// With Config.Recovery a namespace keeps its newest events. A client that lost
// its connection presents its private id and the offset of the last event it
// got, and is the socket it was: same id, rooms and data, and what it missed.
// For a longer memory, or one that outlives the process, see Socket.Release.
//
// # Hostile clients
//
// Packets are bounded by parser.Limits, what waits for a client's handlers by
// MaxInbound, the namespaces it is in by MaxNamespaces, the time until it has
// joined one by ConnectTimeout. Bytes that are no packet, and packets out of
// place, end the connection, as in the reference server. Acknowledgements that
// were not asked for are ignored.
package socketio
