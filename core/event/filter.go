package event

import (
	"slices"
	"strings"
)

// groups are the subscription groups of Evolution Go. SEND_MESSAGE and CALL are names of Evolution API too and then
// mean both.
var groups = map[string][]string{
	"MESSAGE":       {"Message"},
	"SEND_MESSAGE":  {"SendMessage"},
	"READ_RECEIPT":  {"Receipt"},
	"PRESENCE":      {"Presence"},
	"HISTORY_SYNC":  {"HistorySync"},
	"CHAT_PRESENCE": {"ChatPresence", "Archive"},
	"CALL":          {"CallOffer", "CallAccept", "CallTerminate", "CallOfferNotice", "CallRelayLatency"},
	"CONNECTION":    {"Connected", "PairSuccess", "TemporaryBan", "LoggedOut", "ConnectFailure", "Disconnected"},
	"LABEL":         {"LabelEdit", "LabelAssociationChat", "LabelAssociationMessage"},
	"CONTACT":       {"Contact", "PushName"},
	"GROUP":         {"GroupInfo", "JoinedGroup"},
	"NEWSLETTER":    {"NewsletterJoin", "NewsletterLeave"},
	"QRCODE":        {"QRCode", "QRTimeout", "QRSuccess"},
}

// A Filter is a set of event names. The zero value lets every event pass.
// It is immutable and may be used by any number of goroutines at once.
type Filter struct {
	names map[string]struct{} // nil means all
}

// NewFilter returns the filter that lets pass the events named, each in any spelling
// (see [Canonical]) or as a group of Evolution Go. No names, or "ALL" among them, means all.
func NewFilter(names ...string) Filter {
	missing := func(name string) bool { return !slices.Contains(names, name) }
	// The complete list is what Evolution API stores for "all": custom events and those of later versions are meant as
	// well.
	if len(names) == 0 || slices.Contains(names, "ALL") || !slices.ContainsFunc(settable, missing) {
		return Filter{}
	}
	f := Filter{names: make(map[string]struct{}, len(names))}
	for _, name := range names {
		f.names[Canonical(name)] = struct{}{}
		for _, member := range groups[name] {
			f.names[member] = struct{}{}
		}
	}
	return f
}

// Has reports whether an event with that wire name passes.
func (f Filter) Has(wire string) bool {
	if f.names == nil {
		return true
	}
	_, ok := f.names[wire]
	return ok
}

// All reports whether every event passes.
func (f Filter) All() bool { return f.names == nil }

// CheckSubscription reports whether name may stand in a list of wanted events: a
// name of the catalogue in any spelling, a group of Evolution Go, "ALL", or a custom
// wire name. A name in capitals that the catalogue does not hold is taken for a typing error.
func CheckSubscription(name string) bool {
	if _, group := groups[name]; group || name == "ALL" || Known(name) {
		return true
	}
	return name != strings.ToUpper(name) && ValidateName(name) == nil
}
