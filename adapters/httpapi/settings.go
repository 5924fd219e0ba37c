package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/evosink/evosink/core/event"
	"github.com/evosink/evosink/core/instances"
	"github.com/evosink/evosink/core/sink"
)

// settings are what the routes know of one sink.
type settings struct {
	*sink.Factory
	schema     *schema         // of {"<name>": block}
	block      any             // the block's own schema
	properties map[string]bool // the block's keys, by which a flat body is known
}

// set is POST /{sink}/set/{instance}.
func (a *API) set(s *settings) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		in, err := a.onInstance(r)
		if err != nil {
			return err
		}
		body, err := a.readBody(w, r, ownerOf(in), maxSettings)
		if err != nil {
			return err
		}
		value, err := s.read(body, in)
		if err != nil {
			return err
		}
		if why := s.idle(); why != "" {
			return a.emptyAnswer(w, http.StatusCreated, why+"; nothing was stored")
		}
		stored, err := a.opts.Registry.Set(r.Context(), in.Name, s.Name, value)
		if err != nil {
			return err
		}
		a.audit(r, "settings.set").Str("instance", in.Name).Str("sink", s.Name).Msg("settings of an instance were stored")
		a.noticeEvents(w, s, stored.Value)
		return writeBody(w, http.StatusCreated, s.row(in.ID, stored))
	}
}

// noticeEvents tells of events in stored settings that are in no catalogue but nearly are. Names of an API's own are
// allowed, so it is no error.
func (a *API) noticeEvents(w http.ResponseWriter, s *settings, stored json.RawMessage) {
	sub, err := sink.ParseSubscription(stored)
	if err != nil {
		return
	}
	for _, name := range sub.Events[:min(len(sub.Events), 100)] {
		if name == strings.ToUpper(name) || event.Known(name) { // in capitals the schema takes only what is known
			continue
		}
		if near := a.didYouMean(name, event.Names()); near != "" {
			a.hint(w, fmt.Sprintf("%s: %+.80q is an event of your own, not one that is known%s", s.Name, name, near))
			return // one is enough to look
		}
	}
}

// find is GET /{sink}/find/{instance}.
func (a *API) find(s *settings) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		in, err := a.onInstance(r)
		if err != nil {
			return err
		}
		if !s.Enabled() {
			return a.emptyAnswer(w, http.StatusOK, s.idle())
		}
		return writeBody(w, http.StatusOK, s.row(in.ID, in.Settings[s.Name]))
	}
}

// idle says why settings of the sink have no effect, "" if they have.
func (s *settings) idle() string {
	switch rule := s.Rule(); {
	case !s.Enabled():
		return fmt.Sprintf("the configuration switches the sink %s off", s.Name)
	case rule.Global && rule.Exclusive:
		return fmt.Sprintf("the sink %s is in global mode and ignores settings of instances", s.Name)
	}
	return ""
}

// emptyAnswer answers as Evolution API does for a sink that is switched off, with an empty body; the reason is in the
// log and a header.
func (a *API) emptyAnswer(w http.ResponseWriter, status int, why string) error {
	a.hint(w, why)
	return writeBody(w, status, nil)
}

// hint says in the log and in a header what is no error and probably not meant.
func (a *API) hint(w http.ResponseWriter, why string) {
	a.opts.Logger.Warn().Msg(why)
	w.Header().Set("Evosink-Notice", why)
}

// read turns a body into settings to store for in.
func (s *settings) read(body []byte, in instances.Instance) (json.RawMessage, error) {
	doc, err := parse(body)
	if err != nil {
		return nil, err
	}
	doc = s.wrap(doc)
	if body, ok := doc.(map[string]any); ok {
		if err := sink.RestoreSecrets(s.block, body[s.Name], in.Settings[s.Name].Value); err != nil {
			return nil, s.objections(err)
		}
	}
	if wrong := s.schema.violations(doc); len(wrong) > 0 {
		return nil, violations(wrong)
	}
	return s.normalize(doc.(map[string]any)[s.Name], in.Settings[s.Name].Value)
}

// wrap puts a flat body, as version 1 of Evolution API takes it, under the sink's name.
func (s *settings) wrap(doc any) any {
	keys, ok := doc.(map[string]any)
	if !ok {
		return doc
	}
	if _, wrapped := keys[s.Name]; wrapped {
		return doc
	}
	for key := range keys {
		if s.properties[key] {
			return map[string]any{s.Name: doc}
		}
	}
	return doc
}

// normalize returns the form to store of a block that the schema has passed.
func (s *settings) normalize(block any, previous json.RawMessage) (json.RawMessage, error) {
	raw, err := marshal(block)
	if err != nil {
		return nil, err
	}
	value, err := s.Normalize(raw, previous)
	if err != nil {
		return nil, s.objections(err)
	}
	return value, nil
}

// objections are what a sink says against a block, in the shape of violations of its schema.
func (s *settings) objections(err error) *problem {
	var texts []string
	for line := range strings.Lines(err.Error()) {
		texts = append(texts, s.Name+": "+strings.TrimSuffix(line, "\n"))
	}
	return violations(atMost(maxViolations, texts))
}

// presumeEnabled completes the blocks of POST /instance/create: there a block's presence enables the
// sink, as in Evolution API, and null is no block.
func presumeEnabled(doc any, sinks []*settings) {
	keys, _ := doc.(map[string]any)
	for _, s := range sinks {
		switch block := keys[s.Name].(type) {
		case nil:
			delete(keys, s.Name)
		case map[string]any:
			if _, ok := block["enabled"]; !ok {
				block["enabled"] = true
			}
		}
	}
}

// adopt takes the sink's block of a valid POST /instance/create, if there is one and it has an effect, into a new
// instance's settings.
func (s *settings) adopt(keys map[string]any, to map[string]instances.Settings) error {
	if _, ok := keys[s.Name]; !ok || s.idle() != "" {
		return nil
	}
	if err := sink.RestoreSecrets(s.block, keys[s.Name], nil); err != nil {
		return s.objections(err)
	}
	value, err := s.normalize(keys[s.Name], nil)
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	to[s.Name] = instances.Settings{ID: event.NewID(), Value: value, CreatedAt: now, UpdatedAt: now}
	return nil
}

// shown are stored settings without their secrets; nil if they cannot be read.
func (s *settings) shown(stored json.RawMessage) json.RawMessage {
	value, err := sink.HideSecrets(s.block, stored)
	if err != nil {
		return nil
	}
	return value
}

// row is settings as Evolution API shows them: the stored value without its secrets, between what
// every row has. null if nothing is set.
func (s *settings) row(instanceID string, set instances.Settings) json.RawMessage {
	value := bytes.TrimSpace(s.shown(set.Value))
	if len(value) < 2 || value[0] != '{' {
		return json.RawMessage("null")
	}
	out := event.AppendString([]byte(`{"id":`), set.ID)
	if inner := bytes.TrimSpace(value[1 : len(value)-1]); len(inner) > 0 {
		out = append(append(out, ','), inner...)
	}
	out = event.AppendString(append(out, `,"createdAt":`...), stamp(set.CreatedAt))
	out = event.AppendString(append(out, `,"updatedAt":`...), stamp(set.UpdatedAt))
	return append(event.AppendString(append(out, `,"instanceId":`...), instanceID), '}')
}

// common is the row with only what all sinks have.
func (s *settings) common(in instances.Instance) json.RawMessage {
	set := in.Settings[s.Name]
	sub, err := sink.ParseSubscription(set.Value)
	if err != nil || set.Value == nil {
		return json.RawMessage("null")
	}
	set.Value, _ = marshal(sub) // two plain fields always marshal
	return s.row(in.ID, set)
}

// summary is what POST /instance/create answers about the sink: {} if it was not set.
func (s *settings) summary(in instances.Instance) any {
	set, ok := in.Settings[s.Name]
	sub, err := sink.ParseSubscription(set.Value)
	if !ok || err != nil {
		return struct{}{}
	}
	if s.Settings.Created != nil {
		return s.Settings.Created(s.shown(set.Value))
	}
	return map[string]bool{"enabled": sub.Enabled}
}

// column is the sink's key in fetchInstances, "Websocket".
func (s *settings) column() string { return strings.ToUpper(s.Name[:1]) + s.Name[1:] }

// stamp is the ISO 8601 form that JavaScript writes.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// marshal is json.Marshal that leaves <, > and & as they are.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
