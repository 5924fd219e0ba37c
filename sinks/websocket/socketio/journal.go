package socketio

import (
	"encoding/base64"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"strconv"
	"time"

	"github.com/evosink/evosink/sinks/websocket/engineio"
)

// A journal is what a namespace keeps for clients that may come back :
// the newest events, and the absent clients. It is bounded in bytes, time and
// absent clients. Guarded by Namespace.mu.
//
// An offset names an event by its number, not by looking it up, so that a
// client whose last event has been dropped from the journal is recovered all
// the same if it missed nothing that has. A check that only the journal can
// make keeps clients from naming events that they never got, and from taking
// offsets to another journal.
type journal struct {
	recovery  Recovery
	retention time.Duration // of events: a lost connection is noticed late
	seed      maphash.Seed  // of the check in offsets

	number uint64  // of the newest event
	events []entry // the newest, without gaps
	bytes  int     // of events
	absent map[string]*savedSocket
	left   []*savedSocket // in the order of leaving; those recovered are in it still
}

// An entry is one event and the rooms that it was for.
type entry struct {
	at            time.Time
	name          string
	msgs          []engineio.Message
	size          int
	rooms, except []string
}

// A savedSocket is what an absent client comes back to.
type savedSocket struct {
	at      time.Time
	id, pid string
	rooms   []string // with its own id
	filter  func(event string) bool
	data    any
	floor   uint64 // see Socket.floor
}

// A recoveryRequest is what a client presents to be recovered.
type recoveryRequest struct{ pid, offset string }

func newJournal(r Recovery, detection time.Duration) *journal {
	return &journal{
		recovery:  r,
		retention: r.Window + detection,
		seed:      maphash.MakeSeed(),
		absent:    make(map[string]*savedSocket),
	}
}

// The length of an offset, and the room it needs in an event's text.
const (
	numberLength = 10
	checkBytes   = 6
	offsetLength = numberLength + checkBytes*4/3
	offsetRoom   = len(`,""`) + offsetLength
)

// add numbers out, appends its offset as the last argument, and keeps it.
func (j *journal) add(out *outgoing, rooms, except []string) {
	j.number++
	out.number = j.number
	text := out.msgs[0].Data
	text = append(text[:len(text)-1], `,"`...)
	text = j.appendOffset(text, j.number)
	out.msgs[0].Data = append(text, `"]`...)
	out.size += offsetRoom

	now := time.Now()
	j.events = append(j.events, entry{now, out.name, out.msgs, out.size + deliveryOverhead, rooms, except})
	j.bytes += out.size + deliveryOverhead
	j.trim(now)
}

// appendOffset appends the offset of the event with that number: the number in
// base 36, with leading zeros, so that offsets grow as texts too, and its check.
func (j *journal) appendOffset(dst []byte, number uint64) []byte {
	start := len(dst)
	digits := strconv.FormatUint(number, 36)
	for range max(0, numberLength-len(digits)) {
		dst = append(dst, '0')
	}
	dst = append(dst, digits...)
	var sum [8]byte
	binary.BigEndian.PutUint64(sum[:], maphash.Bytes(j.seed, dst[start:]))
	return base64.RawURLEncoding.AppendEncode(dst, sum[:checkBytes])
}

// parseOffset returns the number of the event with that offset. ok is false for
// a text that appendOffset would not have written.
func (j *journal) parseOffset(offset string) (number uint64, ok bool) {
	if len(offset) != offsetLength {
		return 0, false
	}
	number, err := strconv.ParseUint(offset[:numberLength], 36, 64)
	var room [offsetLength]byte
	return number, err == nil && string(j.appendOffset(room[:0], number)) == offset
}

// after returns the events after offset, and whether all of them are kept. It
// does not know offsets below floor.
func (j *journal) after(offset string, floor uint64) ([]entry, bool) {
	number, ok := j.parseOffset(offset)
	if !ok || number < floor || number > j.number {
		return nil, false
	}
	missed := j.number - number
	if missed > uint64(len(j.events)) {
		return nil, false
	}
	return j.events[len(j.events)-int(missed):], true
}

// trim drops the oldest events over the bounds.
func (j *journal) trim(now time.Time) {
	drop := 0
	for _, e := range j.events {
		if j.bytes <= j.recovery.MaxBytes && now.Sub(e.at) <= j.retention {
			break
		}
		j.bytes -= e.size
		drop++
	}
	clear(j.events[:drop])
	j.events = j.events[drop:]
	if len(j.events) == 0 {
		j.events = nil
	}
}

// leave remembers a socket that has left.
func (j *journal) leave(a *savedSocket) {
	j.absent[a.pid] = a
	j.left = append(j.left, a)
	for len(j.absent) > j.recovery.MaxSessions {
		j.forgetOldest()
	}
	if len(j.left) > 2*j.recovery.MaxSessions { // most of them came back
		j.left = slices.DeleteFunc(j.left, j.isBack)
	}
	j.expire(a.at)
}

// isBack reports whether a was recovered, or has left anew.
func (j *journal) isBack(a *savedSocket) bool { return j.absent[a.pid] != a }

// expire forgets sockets that have been away for too long.
func (j *journal) expire(now time.Time) {
	for len(j.left) > 0 && (now.Sub(j.left[0].at) > j.recovery.Window || j.isBack(j.left[0])) {
		j.forgetOldest()
	}
}

func (j *journal) forgetOldest() {
	oldest := j.left[0]
	j.left[0] = nil
	j.left = j.left[1:]
	if !j.isBack(oldest) {
		delete(j.absent, oldest.pid)
	}
}

// forgetAll drops everything. Offsets given out before stay valid.
func (j *journal) forgetAll() {
	j.events, j.bytes, j.left = nil, 0, nil
	clear(j.absent)
}

// find returns the absent socket that t is of and the events it missed; nil if t is not valid.
func (j *journal) find(t *recoveryRequest) (*savedSocket, []entry) {
	a := j.absent[t.pid]
	if a == nil || time.Since(a.at) > j.recovery.Window {
		return nil, nil
	}
	events, complete := j.after(t.offset, a.floor)
	if !complete {
		return nil, nil
	}
	return a, events
}

// concerns reports whether e was for a.
func (e entry) concerns(a *savedSocket) bool {
	among := func(rooms []string) bool {
		return slices.ContainsFunc(rooms, func(room string) bool { return slices.Contains(a.rooms, room) })
	}
	return (e.rooms == nil || among(e.rooms)) && !among(e.except)
}

// missed returns the messages of the events that concern a and that filter
// lets through.
func missed(events []entry, a *savedSocket, filter func(string) bool) []engineio.Message {
	var msgs []engineio.Message
	for _, e := range events {
		direct := len(e.rooms) == 1 && e.rooms[0] == a.id
		if e.concerns(a) && (direct || filter == nil || filter(e.name)) {
			msgs = append(msgs, e.msgs...)
		}
	}
	return msgs
}
