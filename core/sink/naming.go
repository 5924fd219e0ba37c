package sink

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/evosink/evosink/core/event"
)

// Custom is the part of a name that events outside the catalogue share, unless [Naming.Own] lists them.
const Custom = "custom"

// A Naming forms the names of what a sink makes on a broker, queues, topics and subjects: an owner, a separator and
// the event's part. The owner is an instance, or what the global ones begin with. For events of the catalogue names
// are those of Evolution API ("sales.messages.upsert"), as long as no two owners would have the same; and no two
// owners ever have the same:
//
//   - An event outside the catalogue is "custom", or where Own lists it "custom", the separator and [Naming.Token] of
//     it, which has no separator. So instance shop cannot name an event "eu.messages.upsert" and mean a queue of
//     instance shop.eu.
//   - A name belongs to the owner that stands before the longest ending which is an event's part. Where that is
//     another, the name of the instance is disguised: instance "shop.send" and the event "Message" of Evolution Go
//     would give "shop.send.message", where send.message of instance shop goes; and an instance that is called like
//     the global owner would share its names.
//
// Names follow from the fields alone, and the parts are those of [Naming.Parts], whatever events come: an owner has no
// more names than that on any node, before and after a restart.
//
// The fields are set before use and not changed; methods may be called by any number of goroutines at once.
type Naming struct {
	Separator string
	// Shared is what global names begin with; "" if they are the event's part alone. InUse says that instances' names
	// must keep clear of them.
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
	// Own lists the events outside the catalogue that have names of their own; all others share Custom.
	Own []string

	once  sync.Once
	known map[string]string // wire name -> part
	parts map[string]bool
}

// Part returns the event's part of its names.
func (n *Naming) Part(wire string) string {
	n.once.Do(n.init)
	if part, ok := n.known[wire]; ok {
		return part
	}
	return Custom
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
	if shared && n.parts[rest] {
		return n.Disguise(instance)
	}
	for at := 0; at < len(owner); {
		i := strings.Index(owner[at:], n.Separator)
		if i < 0 {
			break
		}
		at += i + len(n.Separator)
		if n.parts[name[at:]] {
			return n.Disguise(instance)
		}
	}
	return owner
}

// Parts returns the parts of all events: those of the catalogue, of the events in Own, and Custom. The slice is the
// caller's.
func (n *Naming) Parts() []string {
	n.once.Do(n.init)
	out := make([]string, 0, len(n.parts))
	for part := range n.parts {
		out = append(out, part)
	}
	return out
}

func (n *Naming) init() {
	n.known, n.parts = map[string]string{}, map[string]bool{Custom: true}
	for _, wire := range event.Names() {
		part := n.Spell(wire)
		n.known[wire], n.parts[part] = part, true
	}
	for _, wire := range n.Own {
		if _, ok := n.known[wire]; ok {
			continue
		}
		token := n.Token(wire, false)
		if n.parts[token] {
			token = n.Token(wire, true)
		}
		part := Custom + n.Separator + token
		n.known[wire], n.parts[part] = part, true
	}
}

// ValidateCustom checks the list of events outside the catalogue that have names of their own; key is where it stands.
func ValidateCustom(key string, names []string) error {
	var errs []error
	for _, name := range names {
		switch {
		case event.Known(name):
			errs = append(errs, fmt.Errorf("%s: %s is in the catalogue, whose events have names of their own anyway", key, name))
		case name == "true" || name == "false" || name == strings.ToUpper(name) || event.ValidateName(name) != nil:
			errs = append(errs, fmt.Errorf("%s lists names of events of your own, such as order.paid; %q is none", key, name))
		}
	}
	return errors.Join(errs...)
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
