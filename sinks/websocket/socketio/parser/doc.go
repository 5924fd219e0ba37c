// Package parser turns bytes into Socket.IO packets and back (Socket.IO
// protocol, revision 5). It is pure: no goroutine, clock, logger or
// connection.
//
// # On the wire
//
// A packet is one text, and one binary message for each attachment behind it:
//
//	<type>[<number of attachments>-][<namespace>,][<ack id>][<JSON>]
//
//	0/admin,{"token":"x"}                              CONNECT to /admin
//	2["news",{"a":1}]                                  EVENT
//	3/admin,7["done"]                                  ACK of event 7
//	51-/admin,7["file",{"_placeholder":true,"num":0}]  EVENT with one attachment
//
// An event or acknowledgement with binary values in it has a type of its own
// on the wire. Packet does not show it: a packet is binary if one of its
// arguments has attachments.
//
// # What stays bytes
//
// JSON is cut into arguments but never decoded, and encoding appends around
// the producer's bytes, so numbers, the order of keys and escapes come out as
// they went in. A binary value is a placeholder in the JSON of its argument,
// numbered within that argument; see Arg.
//
// # Hostile peers
//
// Everything that could grow with a peer's bytes has a bound in Limits that is
// checked before memory is taken. JSON is walked with a counter, not by
// recursion, so depth costs no stack. After an error a Decoder is of no more
// use: the connection is to be closed, as the reference server does.
package parser
