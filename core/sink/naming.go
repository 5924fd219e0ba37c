package sink

import (
	"fmt"
	"strings"
	"sync"

	"github.com/evosink/evosink/core/event"
)

// Custom is the part of a name that events outside the catalogue share, unless they have names of their own.
const Custom = "custom"

// A Naming forms the names of what a sink makes on a broker, queues, topics and subjects: an owner, a separator and
// the event's part. The owner is an instance, or what the global ones begin with. For events of the catalogue names
// are those of Evolution API ("sales.messages.upsert"), as long as no two owners would have the same; and no two
// owners ever have the same:
//
//   - An event outside the catalogue is "custom", or with its own name "custom", the separator and [Naming.Token] of
//     it, which has no separator. So instance shop cannot name an event "eu.messages.upsert" and mean a queue of
//     instance shop.eu.
//   - A name belongs to the owner that stands before the longest ending which is an event's part. Where that is
//     another, the name of the instance is disguised: instance "shop.send" and the event "Message" of Evolution Go
//     would give "shop.send.message", where send.message of instance shop goes; and an instance that is called like
//     the global owner would share its names.
//
// The fields are set before use and not changed; methods may be called by any number of goroutines at once.
type Naming struct {
	Separator string
	// Shared is what global names begin with; "" if they are the event's part alone. InUse says that instances' names must
	// keep clear of them.
	Shared string
	InUse  bool
	// Spell returns the part of an event of the catalogue, by its wire name.
	Spell func(wire string) string
	// Escape returns an instance's name as the broker can hold it. No two names give the same.
	Escape func(name string) string
	// Disguise returns what Escape gives for no name, and no other name gives here, without a separator.
	Disguise func(name string) string
	// Token returns what stands for a custom event in its part: different for each, without a separator. With changed it
	// differs from the name.
	Token func(name string, changed bool) string
	// Own gives custom events names of their own, at most Each per instance and Total in all; what is more is "custom".
	Own         bool
	Each, Total int

	once  sync.Once
	known map[string]string // wire name -> part
	parts map[string]bool

	mu sync.Mutex
	// mu guards the fields below.
	own   map[string]map[string]bool // instance -> its custom events that have names of their own
	total int
}

// Part returns the event's part of its names. The instance pays for a name of its own.
func (n *Naming) Part(instance, wire string) string {
	n.once.Do(n.init)
	if part, ok := n.known[wire]; ok {
		return part
	}
	if !n.Own || !n.affords(instance, wire) {
		return Custom
	}
	token := n.Token(wire, false)
	if n.parts[token] {
		token = n.Token(wire, true)
	}
	return Custom + n.Separator + token
}

// Name returns the name for a part of an instance.
func (n *Naming) Name(instance, part string) string {
	return n.Owner(instance, part) + n.Separator + part
}

// Global returns the name for a part of no instance.
func (n *Naming) Global(part string) string {
	if n.Shared == "" {
		return part
	}
	return n.Shared + n.Separator + part
}

// Owner returns what an instance's name for a part begins with.
func (n *Naming) Owner(instance, part string) string {
	n.once.Do(n.init)
	owner := n.Escape(instance)
	name := owner + n.Separator + part
	rest, shared := name, n.InUse
	if shared && n.Shared != "" {
		rest, shared = strings.CutPrefix(name, n.Shared+n.Separator)
	}
	if shared && n.isPart(rest) {
		return n.Disguise(instance)
	}
	for at := 0; at < len(owner); {
		i := strings.Index(owner[at:], n.Separator)
		if i < 0 {
			break
		}
		at += i + len(n.Separator)
		if n.isPart(name[at:]) {
			return n.Disguise(instance)
		}
	}
	return owner
}

// Parts returns the parts of all events of the catalogue, and of custom ones. The slice is the caller's.
func (n *Naming) Parts() []string {
	n.once.Do(n.init)
	out := make([]string, 0, len(n.parts))
	for part := range n.parts {
		out = append(out, part)
	}
	return out
}

func (n *Naming) init() {
	n.known, n.parts, n.own = map[string]string{}, map[string]bool{Custom: true}, map[string]map[string]bool{}
	for _, wire := range event.Names() {
		part := n.Spell(wire)
		n.known[wire], n.parts[part] = part, true
	}
}

// isPart reports whether s is the part of an event. It may say so of some that no event has.
func (n *Naming) isPart(s string) bool {
	if n.parts[s] {
		return true
	}
	token, custom := strings.CutPrefix(s, Custom+n.Separator)
	if !custom || n.parts[token] || token == "" {
		return false
	}
	if n.Separator == "_" { // which also begins the escape _xHH
		token = unescape(token)
	}
	return !strings.Contains(token, n.Separator)
}

// unescape takes the escapes of [Escape] out of a name, and what they stand for with them.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if escapes(s[i:]) {
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// affords reports whether a custom event of an instance may have names of its own, and remembers that it has.
func (n *Naming) affords(instance, wire string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.own[instance][wire] {
		return true
	}
	if n.total >= n.Total || len(n.own[instance]) >= n.Each {
		return false
	}
	if n.own[instance] == nil {
		n.own[instance] = map[string]bool{}
	}
	n.own[instance][wire] = true
	n.total++
	return true
}

// ValidateCustom checks what a configuration says about custom names; own is the key of its switch.
func ValidateCustom(own string, each, total int) error {
	if each < 1 || total < each {
		return fmt.Errorf("%s_each must be at least 1, and %s_total not below it", own, own)
	}
	return nil
}

// Told remembers what the log was told of, so that it is not told again, for some thousands at once. The zero value is
// ready.
type Told struct {
	mu sync.Mutex
	// mu guards the field below.
	names map[string]bool
}

// maxTold bounds what [Told] remembers; names are forgotten all at once.
const maxTold = 4096

// First reports whether name is new.
func (t *Told) First(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names[name] {
		return false
	}
	if t.names == nil || len(t.names) >= maxTold {
		t.names = map[string]bool{}
	}
	t.names[name] = true
	return true
}
