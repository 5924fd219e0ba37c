package event

import (
	"slices"
	"strings"
)

// Settable returns, in Evolution API's order, the config names that its settings routes
// accept and store when a list of events is empty. The slice is the caller's.
func Settable() []string { return slices.Clone(settable) }

var settable = []string{
	"APPLICATION_STARTUP", "QRCODE_UPDATED", "MESSAGES_SET", "MESSAGES_UPSERT", "MESSAGES_EDITED", "MESSAGES_UPDATE",
	"MESSAGES_DELETE", "SEND_MESSAGE", "SEND_MESSAGE_UPDATE", "CONTACTS_SET", "CONTACTS_UPSERT", "CONTACTS_UPDATE",
	"PRESENCE_UPDATE", "CHATS_SET", "CHATS_UPSERT", "CHATS_UPDATE", "CHATS_DELETE", "GROUPS_UPSERT", "GROUP_UPDATE",
	"GROUP_PARTICIPANTS_UPDATE", "CONNECTION_UPDATE", "LABELS_EDIT", "LABELS_ASSOCIATION", "CALL", "TYPEBOT_START",
	"TYPEBOT_CHANGE_STATUS", "REMOVE_INSTANCE", "LOGOUT_INSTANCE", "INSTANCE_CREATE", "INSTANCE_DELETE", "STATUS_INSTANCE",
}

// wireNames are the names of the catalogue as they travel.
var wireNames = []string{
	"application.startup", "qrcode.updated", "connection.update", "status.instance", "messages.set", "messages.upsert",
	"messages.edited", "messages.update", "messages.delete", "send.message", "send.message.update", "contacts.set",
	"contacts.upsert", "contacts.update", "presence.update", "chats.set", "chats.upsert", "chats.update", "chats.delete",
	"groups.upsert", "groups.update", "group-participants.update", "labels.edit", "labels.association", "call",
	"typebot.start", "typebot.change-status", "instance.create", "instance.delete", "remove.instance", "logout.instance",
	"new.jwt", "error", "creds.update", "messaging-history.set",
}

// goNames are the names of Evolution Go; they are their own wire names.
var goNames = []string{
	"Message", "SendMessage", "Receipt", "Presence", "HistorySync", "ChatPresence", "Archive", "CallOffer", "CallAccept",
	"CallTerminate", "CallOfferNotice", "CallRelayLatency", "Connected", "PairSuccess", "TemporaryBan", "LoggedOut",
	"ConnectFailure", "Disconnected", "LabelEdit", "LabelAssociationChat", "LabelAssociationMessage", "Contact",
	"PushName", "GroupInfo", "JoinedGroup", "NewsletterJoin", "NewsletterLeave", "QRCode", "QRTimeout", "QRSuccess",
	"OfflineSyncCompleted",
}

// Names returns the wire names of the whole catalogue, Evolution Go's among them. The slice is the caller's.
func Names() []string { return slices.Concat(wireNames, goNames) }

// spellings maps each name of the catalogue, and each config spelling, to its wire name.
var spellings = func() map[string]string {
	m := map[string]string{
		"GROUP_UPDATE":  "groups.update", // the enum's spelling of GROUPS_UPDATE
		"NEW_JWT_TOKEN": "new.jwt",
		"ERRORS":        "error",
	}
	for _, wire := range wireNames {
		m[ConfigName(wire)], m[wire] = wire, wire
	}
	for _, wire := range goNames {
		m[wire] = wire
	}
	return m
}()

// find returns the wire name of a name of the catalogue in any spelling.
func find(name string) (wire string, ok bool) {
	if wire, ok = spellings[name]; !ok {
		wire, ok = spellings[ConfigName(name)]
	}
	return wire, ok
}

// Canonical returns the wire name of an event given in any spelling: "MESSAGES_UPSERT",
// "messages-upsert", "messages.upsert". Names outside the catalogue, Evolution Go's
// among them, come back unchanged.
func Canonical(name string) string {
	if wire, ok := find(name); ok {
		return wire
	}
	return name
}

// Known reports whether name is, in some spelling, in the catalogue.
func Known(name string) bool {
	_, ok := find(name)
	return ok
}

// system are the names by which the API itself tells of its instances' lives and keys, and of its own errors.
var system = []string{
	"application.startup", "instance.create", "instance.delete", "remove.instance", "logout.instance", "status.instance",
	"new.jwt", "creds.update", "error",
}

// System reports whether name, in any spelling, is one that only the API itself may use: consumers act on what it says
// about instances and their keys.
func System(name string) bool { return slices.Contains(system, Canonical(name)) }

var toConfig = strings.NewReplacer(".", "_", "-", "_")

// ConfigName returns the spelling of settings and variables: "GROUP_PARTICIPANTS_UPDATE"
// for "group-participants.update".
func ConfigName(wire string) string {
	return strings.ToUpper(toConfig.Replace(wire))
}

// PathSuffix returns the spelling of webhook paths: "group-participants-update"
// for "group-participants.update".
func PathSuffix(wire string) string {
	return strings.ToLower(strings.ReplaceAll(ConfigName(wire), "_", "-"))
}
