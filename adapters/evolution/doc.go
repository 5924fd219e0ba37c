// Package evolution reads what an unmodified Evolution API or Evolution Go posts to its webhook, so
// that evosink can stand behind either without a change there.
//
//	Evolution API   [DecodeAPI]   the body of a webhook, global or of an instance
//	Evolution Go    [DecodeGo]    the body of a webhook
//
// # Identity
//
// Neither product sends an event id, and both post the same bytes again after a timeout. So an
// event's id is derived from what it says: a UUID of version 8 (RFC 9562) over the SHA-256 of name, instance, time,
// data and the envelope's further keys. The second post of an event then has the id of the first and is not published
// again. That also joins the copies that one Evolution API sends by its global and its instance's webhook.
//
// That is right only where the time is part of what is said: two equal events without a time may well be two events
// ("composing", "paused", "composing"). Without one the id is left empty, and the hub makes a new one.
package evolution
